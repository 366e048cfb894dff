"""Who uses the measured system: users with tokens, and the rooms that they write in."""

import time
from collections.abc import Iterator
from uuid import UUID

import asyncpg

from libs.common.testing import TokenIssuer

USERS = 50
"""Enough for caches of tokens, limits and lists to hold more than one entry."""

LISTED_ROOMS = 20
"""A full first page of `GET /chatroom`."""

_FIRST_FRESH_ROOM = 100_000
_LOGIN_S = 7200  # longer than any run
_ENTITLE = """
INSERT INTO chat.entitlement (user_id, version, plan, messages_per_day)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 1, 'pro', NULL
FROM generate_series(0, $1::int - 1) n
ON CONFLICT DO NOTHING
"""
_MOVE_IN = """
INSERT INTO chat.chatroom (id, user_id, title, title_source, created_at, active_at)
SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
    ('00000000-0000-7000-8000-' || lpad((n % $3)::text, 12, '0'))::uuid,
    'A room of the benchmark, number ' || n, $4, now(), now()
FROM generate_series($1::int, $2::int - 1) n
"""


def numbered(number: int) -> UUID:
    """Return the id of a user or room by its number; SQL and pgbench can make it too."""
    return UUID(f"00000000-0000-7000-8000-{number:012d}")


def owner(room: int) -> int:
    """Return the number of the user whose room it is; neighbours have different owners."""
    return room % USERS


class People:
    """Users 0 to `USERS` - 1, each logged in; Pro without a limit of messages."""

    def __init__(self) -> None:
        self.issuer = TokenIssuer()
        self.authorizations = self.log_in(range(USERS))
        self._next_room = _FIRST_FRESH_ROOM

    def log_in(self, users: range) -> list[str]:
        """Return what the users of these numbers send as `Authorization`."""
        expires_at = int(time.time()) + _LOGIN_S
        return [f"Bearer {self.issuer.token(numbered(user), exp=expires_at)}" for user in users]

    async def entitle(self, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Store the users' plan, as if billing had announced it."""
        await admin.execute(_ENTITLE, USERS)

    async def move_in(
        self, admin: "asyncpg.Connection[asyncpg.Record]", rooms: int, *, titled: bool = False
    ) -> range:
        """Make that many rooms that nobody has posted in, and return their numbers.

        Args:
            admin: a connection of the superuser.
            rooms: how many.
            titled: their owners gave them their titles, so the model is not asked for one.
        """
        made = range(self._next_room, self._next_room + rooms)
        self._next_room = made.stop
        source = "user" if titled else "default"
        await admin.execute(_MOVE_IN, made.start, made.stop, USERS, source)
        return made

    def in_turn(self) -> Iterator[int]:
        """Yield users for ever, one after the other."""
        while True:
            yield from range(USERS)

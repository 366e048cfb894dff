"""One-use tickets for WebSockets: browsers cannot set headers there, and tokens do not go in URLs.

Redis holds a ticket's hash and, for as long as the ticket is good, the token that it stands for.
"""

import hashlib
import secrets
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.errors import UnavailableError

TICKET_TTL_S = 30


class TicketStore:
    """Issues tickets and redeems them; both raise UnavailableError while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, token: str) -> str:
        """Return a ticket for `token`, good once and for `TICKET_TTL_S` seconds."""
        ticket = secrets.token_urlsafe(32)
        try:
            await self._redis.set(_key(ticket), token, ex=TICKET_TTL_S)
        except RedisError as exc:
            raise UnavailableError("no ticket can be had right now; try again") from exc
        return ticket

    async def redeem(self, ticket: str) -> str | None:
        """Return the token of `ticket`, once."""
        try:
            token = cast("bytes | None", await self._redis.getdel(_key(ticket)))
        except RedisError as exc:
            raise UnavailableError("no ticket can be used right now; try again") from exc
        return None if token is None else token.decode()


def _key(ticket: str) -> str:
    return f"ws-ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"

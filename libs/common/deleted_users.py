"""Users who deleted their account: nothing that is heard of them later brings any of it back.

A service that hears of a deletion marks the user, waits until whatever may not have seen the mark
has ended (`settle`), and then erases. Every write that could make a first row of a user asks
`is_deleted_user` in its own statement or before, so what `settle` did not wait for is refused.
"""

import asyncio
import hashlib
from uuid import UUID

from libs.common.db import Connection
from libs.common.errors import UnauthenticatedError, UnavailableError
from libs.common.multiplexed import Commands

POLL_S = 0.05
SETTLE_S = 15.0
"""Longer than a statement may take (`libs.common.db.COMMAND_TIMEOUT_S`)."""

REDIS_EXPIRY_S = 7 * 24 * 3600
"""Seconds that Redis knows of a deletion: as long as any key of a user may live in it."""


class AccountDeletedError(UnauthenticatedError):
    """The account was deleted."""

    code = "account_deleted"

    def __init__(self) -> None:
        super().__init__("this account was deleted; sign up again at /auth/signup")


class StillErasingError(UnavailableError):
    """What is to be erased is still being written; the event comes again."""

    patient = True  # a statement ends, and so does a reply


async def mark(conn: Connection, user_id: UUID) -> None:
    """Note that the user is no more; a second time does nothing."""
    await conn.execute(
        """
        INSERT INTO deleted_user (user_hash) VALUES (sha256(uuid_send($1)))
        ON CONFLICT DO NOTHING
        """,
        user_id,
    )


async def is_deleted(conn: Connection, user_id: UUID) -> bool:
    """Tell whether the user is no more."""
    deleted: bool = await conn.fetchval("SELECT is_deleted_user($1)", user_id)
    return deleted


async def ensure_exists(conn: Connection, user_id: UUID) -> None:
    """Refuse a caller whose token outlives the account.

    Raises:
        AccountDeletedError: the user is no more.
    """
    if await is_deleted(conn, user_id):
        raise AccountDeletedError


async def settle(conn: Connection) -> None:
    """Wait for the end of every transaction of this service that is open now; outside of one.

    Raises:
        StillErasingError: one takes longer than `SETTLE_S`.
    """
    open_now = await conn.fetchval(
        """
        SELECT coalesce(array_agg(lock.virtualtransaction), '{}')
        FROM pg_locks lock JOIN pg_stat_activity session USING (pid)
        WHERE lock.locktype = 'virtualxid' AND session.usename = current_user
            AND pid <> pg_backend_pid()
        """
    )
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    while await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'virtualxid' AND virtualtransaction = ANY ($1::text[])
        )
        """,
        open_now,
    ):
        if asyncio.get_running_loop().time() > deadline:
            raise StillErasingError("a transaction that may write for the user is still open")
        await asyncio.sleep(POLL_S)


async def delete_events(conn: Connection, user_id: UUID) -> None:
    """Delete what the outbox holds of the user: nobody may act on it any more.

    What the relay has in hand and cannot send is put back as another row, hence the second look.
    """
    while await conn.fetchval(
        "SELECT EXISTS (SELECT FROM outbox WHERE position($1::text IN payload) > 0)", str(user_id)
    ):
        await conn.execute(
            "DELETE FROM outbox WHERE position($1::text IN payload) > 0", str(user_id)
        )


def redis_key(user_id: UUID | str) -> str:
    """Return the key that exists in Redis for a while after a deletion; scripts ask for it."""
    return f"deleted:{hashlib.sha256(str(user_id).encode()).hexdigest()}"


async def delete_keys(redis: Commands, user_id: UUID, keys: list[str]) -> None:
    """Let scripts refuse the user from now on, and delete their keys.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    await redis.execute_command("SET", redis_key(user_id), "", "EX", REDIS_EXPIRY_S)
    for start in range(0, len(keys), 500):
        await redis.execute_command("DEL", *keys[start : start + 500])

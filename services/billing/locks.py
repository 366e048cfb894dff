"""One lock per user, held over calls to Stripe; not a transaction, which would stay open as long.

Waiting costs no PostgreSQL connection: who does not get the lock gives the connection back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from libs.common.db import Connection, Pool
from services.billing import store

POLL_S = 0.05


class UserLocks:
    """Locks that all processes of billing share.

    Args:
        db: where they live.
        slots: locks that this process holds at a time, fewer than the pool has connections, so
            that a Stripe that hangs leaves some to those who only read.
    """

    def __init__(self, db: Pool, *, slots: int) -> None:
        self._db = db
        self._slots = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def held(self, user_id: UUID, *, within_s: float) -> AsyncIterator[Connection]:
        """Hold the user's lock while the block runs; yields the connection that holds it.

        Raises:
            TimeoutError: others held it for `within_s` seconds.
        """
        deadline = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < deadline:
            async with self._slots, self._db.acquire() as conn:
                if await store.try_lock_user(conn, user_id):
                    # Going back to its pool, the connection lets go of the lock.
                    yield conn
                    return
            await asyncio.sleep(POLL_S)
        raise TimeoutError(f"the lock was not free within {within_s} s")

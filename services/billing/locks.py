"""One lock per user, held over calls to Stripe; not a transaction, which would stay open as long.

Waiting costs no PostgreSQL connection: who does not get the lock gives the connection back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from libs.common.db import Connection, Pool
from services.billing.store import customers

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
            TimeoutError: for `within_s` seconds others held it, or all slots or connections.
        """
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout_at(deadline):
                    await stack.enter_async_context(self._slots)
                    conn = await stack.enter_async_context(self._db.acquire())
                try:
                    async with asyncio.timeout_at(deadline):
                        taken = await customers.try_lock_user(conn, user_id)
                    if taken:
                        yield conn
                        await customers.unlock_user(conn, user_id)
                        return
                except BaseException:
                    conn.terminate()  # else who gets it next may hold the lock
                    raise
            await asyncio.sleep(POLL_S)

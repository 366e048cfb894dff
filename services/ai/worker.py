"""This process as others see it: alive for as long as it holds an advisory lock.

PostgreSQL frees the lock with the connection, so a process that was killed is known to be gone at
once, and nobody waits for a timestamp to expire.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from libs.common.background import every
from services.ai import store

log = structlog.stdlib.get_logger()
CHECK_S = 2.0


@dataclass(slots=True)
class Worker:
    """Who we are, and what we write.

    Attributes:
        id: key of the lock, random, new with every start.
        writing: what is being written, by the generation's id.
        left: generations that we may own and no longer write: others must not wait for us.
    """

    id: int
    writing: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    left: set[UUID] = field(default_factory=set)
    _giving_up: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(
        self, generation_id: UUID, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Do `work` unless it is being done, and wait for its end.

        A delivery is cancelled when its connection is lost; the work goes on, and the delivery that
        comes instead waits for it here.
        """
        async with self._giving_up:  # else it could give up what is claimed here
            task = self.writing.get(generation_id)
            if task is None:
                self.left.discard(generation_id)
                task = self.writing[generation_id] = asyncio.create_task(work())
                task.add_done_callback(lambda done: self._wrote(generation_id, done))
        await asyncio.shield(task)

    async def give_up_left(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Let others claim what we no longer write."""
        async with self._giving_up:
            left = list(self.left)
            await store.release_generations(conn, left, worker=self.id)
            self.left.difference_update(left)

    async def close(self) -> None:
        """Stop writing."""
        tasks = list(self.writing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wrote(self, generation_id: UUID, task: asyncio.Task[None]) -> None:
        del self.writing[generation_id]
        if task.cancelled() or (error := task.exception()) is not None:
            self.left.add(generation_id)
        if not task.cancelled() and error is not None:
            log.info("writing_left", error=type(error).__name__)


@asynccontextmanager
async def alive(database_url: str) -> AsyncIterator[Worker]:
    """Hold a new worker's lock while the block runs; take it again where a connection is lost.

    Raises:
        OSError, asyncpg.PostgresError: PostgreSQL cannot be reached at the start.
    """
    worker = Worker(id=secrets.randbits(62) + 1)
    conn = await _hold(database_url, worker)

    async def check() -> None:
        nonlocal conn
        if conn.is_closed():
            conn = await _hold(database_url, worker)
        await worker.give_up_left(conn)

    try:
        async with every(CHECK_S, check):
            yield worker
    finally:
        await worker.close()
        conn.terminate()


async def _hold(database_url: str, worker: Worker) -> "asyncpg.Connection[asyncpg.Record]":
    conn = await asyncpg.connect(database_url, server_settings={"search_path": "ai"})
    await store.hold_worker_lock(conn, worker.id)
    return conn

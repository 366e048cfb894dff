"""This process as others see it: alive for as long as it holds an advisory lock.

PostgreSQL frees the lock with the connection, so a process that was killed is known to be gone at
once. One that is frozen, or whose machine is, keeps its connection; PostgreSQL ends a session that
has asked nothing for `LEASE_S`. The same connection listens for stops.
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
from services.ai.errors import StopRequestedError
from services.ai.store import generations as store

log = structlog.stdlib.get_logger()
CHECK_S = 2.0
"""Seconds between two questions to PostgreSQL, which keep the lock."""

LEASE_S = 15
"""Seconds without a question after which the lock is free: others may begin our replies anew, and
should we wake, what we wrote is refused."""


class Writing:
    """One reply while it is written here.

    Attributes:
        user_id: whose reply it is.
        task: what writes it.
    """

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.task: asyncio.Task[None] | None = None
        self._stopped = False
        self._scope: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Break off the present or else the next `stoppable` block."""
        if self._stopped:
            return
        self._stopped = True
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """Let `stop` cancel the block, which must not be in the middle of a command to a server.

        Raises:
            StopRequestedError: `stop` was called, before or in the block.
        """
        if self._stopped:
            raise StopRequestedError("the user wants the reply to end")
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError as exc:
            if scope.expired():
                raise StopRequestedError("the user wants the reply to end") from exc
            raise
        finally:
            self._scope = None


@dataclass(slots=True)
class Worker:
    """Who we are, and what we write.

    Attributes:
        id: key of the lock, random, new with every start.
        writing: what is being written, by the generation's id.
        left: generations that we may own and no longer write: others must not wait for us.
        chores: what nobody waits for.
    """

    id: int
    writing: dict[UUID, Writing] = field(default_factory=dict)
    left: set[UUID] = field(default_factory=set)
    _giving_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    chores: set[asyncio.Task[None]] = field(default_factory=set)

    async def write(
        self,
        generation_id: UUID,
        user_id: UUID,
        work: Callable[[Writing], Coroutine[Any, Any, None]],
    ) -> None:
        """Do `work` unless it is being done, and wait for its end.

        A delivery is cancelled when its connection is lost; the work goes on, and the delivery that
        comes instead waits for it here.
        """
        async with self._giving_up:  # else it could give up what is claimed here
            writing = self.writing.get(generation_id)
            if writing is None:
                self.left.discard(generation_id)
                writing = self.writing[generation_id] = Writing(user_id)
                writing.task = asyncio.create_task(work(writing))
                writing.task.add_done_callback(lambda done: self._wrote(generation_id, done))
        assert writing.task is not None  # noqa: S101 - set with it, tells the type checker
        await asyncio.shield(writing.task)

    def count_of(self, user_id: UUID) -> int:
        """Return how many of the user's replies are being written here."""
        return sum(each.user_id == user_id for each in self.writing.values())

    def stop(self, generation_id: UUID) -> None:
        """Break off a reply; nothing if it is not written here."""
        writing = self.writing.get(generation_id)
        if writing is not None:
            writing.stop()

    def later(self, chore: Coroutine[Any, Any, None]) -> None:
        """Do `chore` in the background; it is cancelled when the process ends."""
        task = asyncio.create_task(chore)
        self.chores.add(task)
        task.add_done_callback(self._did)

    async def give_up_left(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Let others claim what we no longer write."""
        async with self._giving_up:
            left = list(self.left)
            await store.release_generations(conn, left, worker=self.id)
            self.left.difference_update(left)

    async def close(self) -> None:
        """Stop writing, and give up the chores."""
        tasks = [each.task for each in self.writing.values() if each.task] + list(self.chores)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wrote(self, generation_id: UUID, task: asyncio.Task[None]) -> None:
        del self.writing[generation_id]
        if task.cancelled() or (error := task.exception()) is not None:
            self.left.add(generation_id)
        if not task.cancelled() and error is not None:
            log.info("writing_left", error=type(error).__name__)

    def _did(self, task: asyncio.Task[None]) -> None:
        self.chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("chore_failed", error=type(error).__name__)


def channel_of(worker: int) -> str:
    """Return the PostgreSQL channel on which a worker hears which replies have to stop."""
    return f"ai_stop_{worker}"


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
        # A notification is lost with the connection that waits for it.
        for generation_id in await store.asked_to_stop(conn, list(worker.writing)):
            worker.stop(generation_id)

    try:
        async with every(CHECK_S, check):
            yield worker
    finally:
        await worker.close()
        conn.terminate()


async def _hold(database_url: str, worker: Worker) -> "asyncpg.Connection[asyncpg.Record]":
    def on_stop(_conn: object, _pid: int, _channel: str, payload: object) -> None:
        worker.stop(UUID(str(payload)))

    conn = await asyncpg.connect(
        database_url,
        server_settings={"search_path": "ai", "idle_session_timeout": f"{LEASE_S}s"},
    )
    try:
        await store.hold_worker_lock(conn, worker.id)
        await conn.add_listener(channel_of(worker.id), on_stop)
    except BaseException:
        conn.terminate()  # else a process that ends meanwhile leaves a lock that nobody frees
        raise
    return conn

"""This process as others see it: alive for as long as it holds an advisory lock.

PostgreSQL frees the lock with the connection, so a process that was killed is known to be gone at
once, and nobody waits for a timestamp to expire.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from libs.common.background import every
from libs.common.db import COMMAND_TIMEOUT_S
from services.ai import store

CHECK_S = 2.0


@dataclass(slots=True)
class Worker:
    """Who we are, and what we write.

    Attributes:
        id: key of the lock, random, new with every start.
        writing: generations that a handler of this process is writing.
    """

    id: int
    writing: set[UUID] = field(default_factory=set)


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
        if not conn.is_closed():
            await conn.execute("SELECT 1", timeout=COMMAND_TIMEOUT_S)
        else:
            conn = await _hold(database_url, worker)

    try:
        async with every(CHECK_S, check):
            yield worker
    finally:
        conn.terminate()


async def _hold(database_url: str, worker: Worker) -> "asyncpg.Connection[asyncpg.Record]":
    conn = await asyncpg.connect(database_url, server_settings={"search_path": "ai"})
    await store.hold_worker_lock(conn, worker.id)
    return conn

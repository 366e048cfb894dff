"""Work that a process does now and then, for as long as it lives."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import structlog

log = structlog.stdlib.get_logger()


@asynccontextmanager
async def in_background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` as a task of its own; it is cancelled, and has ended, when the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def every(interval_s: float, work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Call `work` in the background while the block runs, each time after about `interval_s`.

    The pauses differ by up to a tenth: what starts together, in one process or in its replicas,
    would otherwise ask PostgreSQL at the same moments for ever, over a connection each.
    """

    async def repeat() -> None:
        while True:
            await asyncio.sleep(interval_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 - it must outlive any outage
                log.warning("background_work_failed", error=type(exc).__name__)

    async with in_background(repeat()):
        yield

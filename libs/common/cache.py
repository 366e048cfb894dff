"""A cache in Redis that is never stale, not even when a writer dies half-way.

One key holds one of: a value, a reader's lease, a writer's mark, or nothing.

- A writer marks the key before its transaction and clears its own mark after the commit. While a
  mark stands, readers neither read nor fill. A writer that dies leaves a mark that expires after
  any transaction has ended (`libs.common.db.COMMAND_TIMEOUT_S`).
- A reader that finds nothing takes a lease, reads PostgreSQL and fills only if its lease still
  stands: a write in between has replaced it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.clock import new_id
from libs.common.db import COMMAND_TIMEOUT_S

log = structlog.stdlib.get_logger()
VALUE_EXPIRY_S = 300
LEASE_EXPIRY_S = 5
MARK_EXPIRY_S = int(COMMAND_TIMEOUT_S) + 5
_VALUE, _LEASE, _MARK = b"v", b"l", b"m"

_REPLACE_OWN = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


class GuardedCache:
    """Bytes by key, correct with any number of readers and writers in any process.

    Redis away: reads go to the source. A writer that cannot mark goes on, since its own readers
    cannot read either, and clears the key as soon as Redis answers again.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._replace_own = redis.register_script(_REPLACE_OWN)
        self._unmarked: set[str] = set()
        self._clearing: set[asyncio.Task[None]] = set()

    async def get_or_fill(self, key: str, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the cached bytes, or those of `read`, cached if nothing changed since."""
        if key in self._unmarked:
            return await read()
        try:
            stored = cast("bytes | None", await self._redis.get(key))
            if stored is not None and stored[:1] == _VALUE:
                return stored[1:]
            if stored is not None:
                return await read()
            lease = _LEASE + new_id().bytes
            if not await self._redis.set(key, lease, nx=True, ex=LEASE_EXPIRY_S):
                return await read()
        except RedisError:
            return await read()
        value = await read()
        await self._try_replace(key, lease, _VALUE + value, VALUE_EXPIRY_S)
        return value

    @asynccontextmanager
    async def changing(self, key: str) -> AsyncIterator[None]:
        """Keep readers away from the key while the block changes what it was made from.

        The block must contain the whole transaction, commit included.
        """
        mark = _MARK + new_id().bytes
        try:
            await self._redis.set(key, mark, ex=MARK_EXPIRY_S)
        except RedisError:
            self._unmarked.add(key)
        try:
            yield
        finally:
            # Not awaited: until the mark is gone readers are right, only slower.
            task = asyncio.create_task(self._clear(key, mark))
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)

    async def aclose(self) -> None:
        """Wait for marks that are being cleared; those of a dead Redis are given up."""
        for task in list(self._clearing):
            if self._unmarked:
                task.cancel()
        await asyncio.gather(*self._clearing, return_exceptions=True)

    async def _clear(self, key: str, mark: bytes) -> None:
        if key not in self._unmarked:
            await self._try_replace(key, mark, b"", 0)
            return
        while True:
            try:
                await self._redis.delete(key)
            except RedisError:
                await asyncio.sleep(1)
            else:
                self._unmarked.discard(key)
                return

    async def _try_replace(self, key: str, own: bytes, value: bytes, expiry_s: int) -> None:
        try:
            await self._replace_own(keys=[key], args=[own, value, expiry_s])
        except RedisError as exc:
            log.warning("cache_unavailable", error=type(exc).__name__)

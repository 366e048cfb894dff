"""A cache in Redis that is never stale, not even when a writer dies half-way.

A key holds a value, a reader's lease or nothing; `<key>:writers` is the set of writers at work.

- A writer joins the set and empties the key before its transaction, and after the commit leaves
  the set and empties the key again, in case the set was lost or expired meanwhile. While anybody is
  in the set nothing is filled. A writer that dies stays in it until the set expires, after any
  transaction has ended (`libs.common.db.COMMAND_TIMEOUT_S`).
- A reader that finds nothing takes a lease, reads PostgreSQL and fills only if its lease still
  stands and nobody writes: a write in between has emptied the key.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from redis.exceptions import RedisError

from libs.common.clock import new_id
from libs.common.db import COMMAND_TIMEOUT_S
from libs.common.multiplexed import Commands

log = structlog.stdlib.get_logger()
VALUE_EXPIRY_S = 300
LEASE_EXPIRY_S = 5
WRITERS_EXPIRY_S = int(COMMAND_TIMEOUT_S) + 5
_VALUE, _LEASE = b"v", b"l"

_FILL = """
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_JOIN = """
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return redis.call('DEL', KEYS[1])
"""
_PART = """
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""


class GuardedCache:
    """Bytes by key, correct with any number of readers and writers in any process.

    Redis away: reads go to the source. A writer that cannot join goes on, reads of this process
    keep off the key, and it is emptied as soon as Redis answers again.
    """

    def __init__(self, redis: Commands) -> None:
        self._redis = redis
        self._fill = redis.register_script(_FILL)
        self._join = redis.register_script(_JOIN)
        self._part = redis.register_script(_PART)
        self._missed: Counter[str] = Counter()  # writers that could not join, by key
        self._leaving: set[asyncio.Task[None]] = set()

    async def get_or_fill(self, key: str, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the cached bytes, or those of `read`, cached if nothing changed since."""
        if key in self._missed:
            return await read()
        try:
            stored: bytes | None = await self._redis.execute_command("GET", key)
            if stored is not None and stored[:1] == _VALUE:
                return stored[1:]
            if stored is not None:
                return await read()
            lease = _LEASE + new_id().bytes
            leased = await self._redis.execute_command(
                "SET", key, lease, "NX", "EX", LEASE_EXPIRY_S
            )
            if not leased:
                return await read()
        except RedisError:
            return await read()
        value = await read()
        with suppress(RedisError):
            await self._fill(keys=_keys(key), args=[lease, _VALUE + value, VALUE_EXPIRY_S])
        return value

    @asynccontextmanager
    async def changing(self, key: str) -> AsyncIterator[None]:
        """Keep readers away from the key while the block changes what it was made from.

        The block must contain the whole transaction, commit included.
        """
        writer = new_id().bytes
        joined = True
        try:
            await self._join(keys=_keys(key), args=[writer, WRITERS_EXPIRY_S])
        except RedisError:
            joined = False
            self._missed[key] += 1
        try:
            yield
        finally:
            # Not awaited: until the writer has left, readers are right, only slower.
            task = asyncio.create_task(self._leave(key, writer, joined=joined))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        """Wait for writers that are leaving; where Redis is away they are given up."""
        if self._missed:
            for task in self._leaving:
                task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _leave(self, key: str, writer: bytes, *, joined: bool) -> None:
        if joined:
            with suppress(RedisError):  # the set expires
                await self._part(keys=_keys(key), args=[writer])
            return
        while True:
            try:
                await self._part(keys=_keys(key), args=[writer])
            except RedisError as exc:
                log.warning("cache_unavailable", error=type(exc).__name__)
                await asyncio.sleep(1)
            else:
                self._missed[key] -= 1
                self._missed += Counter()  # forgets what is zero
                return


def _keys(key: str) -> list[str]:
    return [key, f"{key}:writers"]

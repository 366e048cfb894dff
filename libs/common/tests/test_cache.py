import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from libs.common import cache as cache_module
from libs.common.cache import LEASE_EXPIRY_S, VALUE_EXPIRY_S, GuardedCache
from libs.common.multiplexed import MultiplexedRedis
from libs.common.testing import eventually

pytestmark = pytest.mark.integration


class Source:
    """What is cached; `gate` holds a reader that has already read."""

    def __init__(self) -> None:
        self.value = b"old"
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_read = asyncio.Event()

    async def read(self) -> bytes:
        self.reads += 1
        value = self.value
        self.has_read.set()
        await self.gate.wait()
        return value


async def test_a_second_read_is_served_from_the_cache(redis: Redis) -> None:
    cache, source = GuardedCache(redis), Source()

    values = [await cache.get_or_fill("k", source.read) for _ in range(3)]

    assert values == [b"old"] * 3
    assert source.reads == 1
    assert VALUE_EXPIRY_S - 5 < await redis.ttl("k") <= VALUE_EXPIRY_S


async def test_a_reader_that_was_overtaken_by_a_write_fills_nothing(redis: Redis) -> None:
    cache, source = GuardedCache(redis), Source()
    source.gate.clear()
    slow = asyncio.create_task(cache.get_or_fill("k", source.read))
    await source.has_read.wait()

    async with cache.changing("k"):
        source.value = b"new"
    await cache.aclose()
    source.gate.set()

    assert await slow == b"old"  # it had read before the write
    assert await cache.get_or_fill("k", source.read) == b"new"


async def test_while_one_of_two_writers_is_at_work_nobody_fills(redis: Redis) -> None:
    cache, source = GuardedCache(redis), Source()
    async with cache.changing("k"):
        async with cache.changing("k"):
            pass
        await cache.aclose()
        await cache.get_or_fill("k", source.read)
        source.value = b"new"

    assert await cache.get_or_fill("k", source.read) == b"new"


async def test_a_writer_that_dies_leaves_no_stale_value(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = GuardedCache(redis), Source()
    await cache.get_or_fill("k", source.read)
    dying = GuardedCache(redis)
    monkeypatch.setattr(dying, "_leave", _never)

    with suppress(RuntimeError):
        async with dying.changing("k"):
            source.value = b"new"
            raise RuntimeError

    assert await cache.get_or_fill("k", source.read) == b"new"
    assert 0 < await redis.ttl("k:writers") <= 15


async def _never(_key: str, _mark: bytes, **_: bool) -> None:
    return


@pytest.fixture
async def impatient(redis_url: str) -> AsyncIterator[MultiplexedRedis]:
    """A client that gives up after 0.1 s."""
    client = MultiplexedRedis(redis_url, timeout_s=0.1)
    yield client
    await client.aclose()


async def test_a_change_while_redis_was_away_is_seen_at_once_by_its_writers_process(
    redis: Redis, impatient: MultiplexedRedis
) -> None:
    cache, source = GuardedCache(impatient), Source()
    await cache.get_or_fill("k", source.read)

    await redis.execute_command("CLIENT", "PAUSE", "400")  # type: ignore[no-untyped-call]
    async with cache.changing("k"):
        source.value = b"new"
    assert await cache.get_or_fill("k", source.read) == b"new"
    await redis.ping()  # answers when the pause is over
    assert await redis.get("k") == b"vold"

    assert await cache.get_or_fill("k", source.read) == b"new"

    async def emptied() -> bool:
        return await redis.get("k") is None

    assert await eventually(emptied)
    assert await cache.get_or_fill("k", source.read) == b"new"
    await cache.aclose()


async def test_without_redis_reads_go_to_the_source() -> None:
    redis = Redis.from_url("redis://127.0.0.1:1/0")
    cache, source = GuardedCache(redis), Source()
    async with cache.changing("k"):
        source.value = b"new"

    assert await cache.get_or_fill("k", source.read) == b"new"
    await cache.aclose()
    await redis.aclose()


async def test_rubbish_in_the_key_is_a_miss(redis: Redis) -> None:
    await redis.set("k", b"\x80\x04 no value of ours")
    source = Source()

    assert await GuardedCache(redis).get_or_fill("k", source.read) == b"old"


async def test_a_reader_that_dies_leaves_a_lease_that_ends(redis: Redis) -> None:
    cache, source = GuardedCache(redis), Source()
    source.gate.clear()
    dying = asyncio.create_task(cache.get_or_fill("k", source.read))
    await source.has_read.wait()

    dying.cancel()

    assert 0 < await redis.ttl("k") <= LEASE_EXPIRY_S
    source.gate.set()
    assert await cache.get_or_fill("k", source.read) == b"old"


async def test_a_writer_whose_mark_redis_lost_leaves_no_stale_value(redis: Redis) -> None:
    cache, source = GuardedCache(redis), Source()
    async with cache.changing("k"):
        await redis.flushall()
        await cache.get_or_fill("k", source.read)
        source.value = b"new"
    await cache.aclose()

    assert await cache.get_or_fill("k", source.read) == b"new"


async def test_a_writer_that_outlives_its_mark_leaves_no_stale_value(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "WRITERS_EXPIRY_S", 1)
    cache, source = GuardedCache(redis), Source()
    async with cache.changing("k"):
        await asyncio.sleep(1.2)
        await cache.get_or_fill("k", source.read)
        source.value = b"new"
    await cache.aclose()

    assert await cache.get_or_fill("k", source.read) == b"new"


async def test_of_two_writers_that_could_not_join_the_first_to_leave_does_not_let_readers_in(
    redis: Redis, impatient: MultiplexedRedis
) -> None:
    cache, source = GuardedCache(impatient), Source()

    async def first_has_left() -> bool:
        return not cache._leaving

    await redis.execute_command("CLIENT", "PAUSE", "400")  # type: ignore[no-untyped-call]
    async with cache.changing("k"):
        async with cache.changing("k"):
            pass
        await eventually(first_has_left)
        await cache.get_or_fill("k", source.read)
        source.value = b"new"
    await eventually(first_has_left)

    assert await cache.get_or_fill("k", source.read) == b"new"

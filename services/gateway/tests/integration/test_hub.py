import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from typing_extensions import override

from services.gateway.hub import Hub, Listener, _Channel
from services.gateway.tests.integration.conftest import eventually

KEY = "reply:x"


class LaggingHub(Hub):
    """Redis confirms before `join` goes on, as when a full write buffer makes it wait."""

    @override
    async def _tell_redis(self, *, subscribe: str = "", unsubscribe: str = "") -> None:
        await super()._tell_redis(subscribe=subscribe, unsubscribe=unsubscribe)
        await asyncio.sleep(0.1)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def is_heard(redis: Redis, listener: Listener) -> bool:
    await redis.publish(KEY, "1-0 {}")
    await asyncio.sleep(0.05)
    return bool(listener.take())


async def test_a_listener_hears_though_its_subscription_was_confirmed_before_it_went_on(
    client: Redis, redis: Redis
) -> None:
    hub = LaggingHub(client)
    async with hub.running():

        async def is_connected() -> bool:
            return hub._pubsub is not None

        await eventually(is_connected)
        listener = await hub.join(KEY)

        assert not listener.unsure
        assert await is_heard(redis, listener)


class BrittleHub(Hub):
    """Meets an error that is none of Redis's, once."""

    broke = False

    @override
    async def _confirm(self, key: str, channel: _Channel) -> None:
        if not self.broke:
            self.broke = True
            raise ValueError("unforeseen")
        await super()._confirm(key, channel)


async def test_no_error_ends_the_hub_for_good(client: Redis, redis: Redis) -> None:
    hub = BrittleHub(client)
    async with hub.running():
        listener = await hub.join(KEY, timeout_s=5)

        async def hears() -> bool:
            listener.catch_up()
            return await is_heard(redis, listener)

        assert await eventually(hears)
        assert hub.broke

import asyncio

import pytest
from redis.asyncio import Redis
from typing_extensions import override

from services.gateway import hub as hub_module
from services.gateway.hub import Hub, Listener, _Channel
from services.gateway.tests.integration.conftest import eventually

KEY = "reply:x"


async def is_heard(redis: Redis, listener: Listener) -> bool:
    await redis.publish(KEY, "1-0 {}")
    await asyncio.sleep(0.05)
    return bool(listener.take())


class BrittleHub(Hub):
    """Meets an error that is none of Redis's, once."""

    broke = False

    @override
    def _confirm(self, key: str, channel: _Channel) -> None:
        if not self.broke:
            self.broke = True
            raise ValueError("unforeseen")
        super()._confirm(key, channel)


async def test_no_error_ends_the_hub_for_good(redis: Redis, redis_url: str) -> None:
    hub = BrittleHub(redis_url, timeout_s=2)
    async with hub.running():
        listener = await hub.join(KEY, timeout_s=5)

        async def hears() -> bool:
            listener.catch_up()
            return await is_heard(redis, listener)

        assert await eventually(hears)
        assert hub.broke


async def test_a_subscriber_that_hears_nothing_at_all_connects_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_PING_INTERVAL_S", 0.05)
    connected = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Hub(f"redis://127.0.0.1:{port}", timeout_s=2).running():

        async def again() -> bool:
            return connected > 1

        assert await eventually(again)

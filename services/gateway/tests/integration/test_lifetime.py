"""How connections end that would stay open."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.identity import LEEWAY_S
from services.gateway.tests.integration.conftest import FakeServices, Start
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.stage import Event, Stage, all_of, parsed, text_of

pytestmark = pytest.mark.integration


async def test_an_old_stream_is_told_where_to_go_on(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    async with start_gateway(stream_max_age_s=0.5) as client:
        stage = Stage(client, fakes, redis)
        await stage.write("one ")
        async with stage.watching() as events:
            first = await all_of(events)
        await stage.write("two", start=4)
        await stage.end()
        async with stage.watching(params={"after": first[-1]["data"]["cursor"]}) as events:
            rest = await all_of(events)
        async with client.stream("GET", "/event", headers=stage.headers()) as response:
            feed = [event async for event in parsed(response)]

    assert first[-1]["type"] == "stream.reconnect"
    assert first[-1]["data"]["reason"] == "max_age"
    assert first[-1]["data"]["after_ms"] > 0
    assert text_of(first[:-1] + rest) == "one two"
    assert [event["type"] for event in feed] == ["stream.ready", "stream.reconnect"]
    assert feed[1]["data"]["cursor"] == feed[0]["id"]


@pytest.mark.parametrize("place", ["reply", "feed", "post"])
async def test_a_stream_ends_with_its_token_and_goes_on_with_a_new_one(
    start_gateway: Start, fakes: FakeServices, redis: Redis, place: str
) -> None:
    async with start_gateway() as client:
        stage = Stage(client, fakes, redis)
        await stage.write("one ")
        old = fakes.token(stage.user_id, age_s=900 + LEEWAY_S - 4)  # good for three to four seconds
        began = time.monotonic()
        events = await told(stage, place, {"Authorization": f"Bearer {old}"})
        ended_after_s = time.monotonic() - began
        refused = await client.get(stage.path, headers={"Authorization": f"Bearer {old}"})
        await stage.write("two", start=4)
        await stage.end()
        cursor = events[-1]["data"]["cursor"] if place != "feed" else None
        async with stage.watching(params={"after": cursor} if cursor else {}) as following:
            rest = await all_of(following)

    assert (events[-1]["type"], events[-1]["data"]["reason"]) == (
        "stream.reconnect",
        "token_expired",
    )
    assert 1 < ended_after_s < 8
    assert refused.json()["code"] == "token_expired"
    assert text_of([*events[:-1], *rest]) == "one two"


async def told(stage: Stage, place: str, headers: dict[str, str]) -> list[Event]:
    """Return all that a stream tells until the server ends it."""
    room = f"/chatroom/{stage.room_id}/message"
    stage.fakes.accept(f"POST {room}", stage.room_id, stage.reply_id)
    method, path = {"reply": ("GET", stage.path), "feed": ("GET", "/event")}.get(
        place, ("POST", room)
    )
    headers |= {"Accept": "text/event-stream"}
    body = {"content": "x"} if method == "POST" else None
    async with (
        asyncio.timeout(15),
        stage.client.stream(method, path, headers=headers, json=body) as response,
    ):
        assert response.status_code == 200
        return await all_of(parsed(response))


async def test_a_stream_whose_token_is_good_for_longer_stays_open(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    async with start_gateway(heartbeat_s=0.5) as client:
        stage = Stage(client, fakes, redis)
        async with asyncio.timeout(10), stage.watching() as events:
            kinds = {(await anext(events))["type"] for _ in range(5)}

    assert kinds == {"heartbeat"}


async def test_an_old_socket_is_closed_with_4503(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    async with start_gateway(stream_max_age_s=0.5) as client:
        stage = Stage(client, fakes, redis)
        async with socket_to(client, fakes.token(stage.user_id)) as socket:
            frame = await socket.next()
            code = await socket.close_code()

    assert frame["event"]["type"] == "stream.reconnect"
    assert code == 4503


async def test_a_deploy_tells_every_connection_to_come_back_and_waits_for_none(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    async with AsyncExitStack() as stack:
        gateway = AsyncExitStack()
        served = await gateway.enter_async_context(start_gateway())
        client = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=served.base_url, timeout=20)
        )
        stage = Stage(client, fakes, redis)
        await stage.write("one ")
        watched = await stack.enter_async_context(stage.watching())
        response = await stack.enter_async_context(
            client.stream("GET", "/event", headers=stage.headers())
        )
        token = fakes.token(stage.user_id)
        socket = await stack.enter_async_context(socket_to(client, token))
        ids = {"chatroom_id": stage.room_id, "reply_id": stage.reply_id}
        await socket.ask(op="subscribe", **ids)
        began = time.monotonic()
        reading = [
            asyncio.create_task(last_of(watched)),
            asyncio.create_task(last_of(parsed(response))),
            asyncio.create_task(last_of(socket.events(str(stage.reply_id)))),
        ]
        await asyncio.sleep(0.1)  # so that all of them read
        closing = asyncio.create_task(gateway.aclose())
        last = await asyncio.gather(*reading)
        code = await socket.close_code()
        told_after_s = time.monotonic() - began
        await closing

    assert [event["type"] for event in last] == ["stream.reconnect"] * 3
    assert {event["data"]["reason"] for event in last} == {"deploy"}
    assert all(event["data"]["cursor"] for event in last)
    assert code == 4503
    assert told_after_s < 5


async def last_of(events: AsyncIterator[Event]) -> Any:
    last = None
    async for event in events:
        last = event
    return last

"""Cut anywhere, come back anywhere: the same text, without a gap, without a repeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.replies import Entry, ReplyWriter
from services.gateway.feed import FeedStore
from services.gateway.tests.integration.conftest import FakeServices, Start
from services.gateway.tests.integration.socket_client import Event, socket_to
from services.gateway.tests.integration.stage import Stage, parsed, text_of

pytestmark = pytest.mark.integration
EVENTS = 500
OPEN = {"user_requests_per_minute": 0, "anonymous_requests_per_minute": 0}


@pytest.fixture
async def stages(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> AsyncIterator[list[Stage]]:
    """One reply behind two gateways."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(start_gateway(**OPEN)) for _ in range(2)]
        stages = [Stage(client, fakes, redis) for client in clients]
        stages[1].__dict__ |= stages[0].__dict__ | {"client": clients[1]}
        yield stages


async def over_sse(stage: Stage, cursor: str | None, most: int) -> list[Event]:
    """Return up to `most` events behind `cursor` and cut the connection."""
    events: list[Event] = []
    params = {"after": cursor} if cursor else {}
    async with stage.watching(params=params) as told:
        async for event in told:
            if event["type"] != "heartbeat":
                events.append(event)
            if len(events) == most:
                break
    return events


async def over_socket(stage: Stage, cursor: str | None, most: int) -> list[Event]:
    events: list[Event] = []
    async with socket_to(stage.client, stage.fakes.token(stage.user_id)) as socket:
        ids = {"chatroom_id": stage.room_id, "reply_id": stage.reply_id}
        await socket.send(op="subscribe", id=1, **ids, **({"after": cursor} if cursor else {}))
        assert (await socket.next())["op"] == "ok"
        async for event in socket.events(str(stage.reply_id)):
            events.append(event)
            if len(events) == most:
                break
        socket.connection.transport.abort()
    return events


WAYS = [over_sse, over_socket]


@pytest.mark.parametrize("first", [0, 1])
async def test_a_reply_of_500_events_that_is_cut_after_each_is_whole(
    stages: list[Stage], first: int
) -> None:
    """S1: each boundary meets both transports, and the gateways take turns."""
    words = [f"wörd{number} " for number in range(EVENTS - 2)]

    async def write() -> None:
        writer, offset = ReplyWriter(stages[0].redis), 0
        await writer.append(stages[0].key, Entry("started", 1))
        for word in words:
            await writer.append(stages[0].key, Entry("delta", 1, offset, word))
            offset += len(word)
            await asyncio.sleep(0)
        stages[0].written = offset
        await stages[0].end()

    writing = asyncio.create_task(write())
    seen: list[Event] = []
    async with asyncio.timeout(120):
        while not seen or seen[-1]["type"] != "generation.completed":
            turn = first + len(seen)
            cursor = seen[-1]["id"] if seen else None
            seen += await WAYS[turn % 2](stages[turn // 2 % 2], cursor, 1)
    await writing

    assert len(seen) == EVENTS
    assert len({event["id"] for event in seen}) == EVENTS
    assert text_of(seen) == "".join(words)
    assert not [event for event in seen if event["type"] == "generation.snapshot"]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_left_after_a_cut_comes_to_its_end(stages: list[Stage], way: Any) -> None:
    """S1: the same ids, once and in order."""
    words = [f"{number} " for number in range(100)]
    await stages[0].write(*words)
    await stages[0].end()
    everything = await way(stages[0], None, 1000)
    for cut in range(0, len(everything), 7):
        rest = await way(stages[cut % 2], everything[cut]["id"], 1000)
        assert rest == everything[cut + 1 :] or cut == len(everything) - 1


async def test_five_tabs_see_the_same(stages: list[Stage]) -> None:
    """S4: over both transports and gateways."""
    tabs = [
        asyncio.create_task(WAYS[tab % 2](stages[tab // 2 % 2], None, 1000)) for tab in range(5)
    ]
    words = [f"{number} " for number in range(50)]
    await stages[0].write(*words)
    await stages[0].end()
    seen = [
        [event for event in events if event["type"] == "message.delta"]
        for events in await asyncio.gather(*tabs)
    ]

    assert text_of(seen[0]) == "".join(words)
    assert all(events == seen[0] for events in seen)


async def test_the_feed_goes_on_over_both_transports_and_gateways(stages: list[Stage]) -> None:
    """S2: a device that was away gets all that it missed, once."""
    feed, user_id = FeedStore(stages[0].redis, stages[0].redis), stages[0].user_id
    cursor, numbers = await feed.last_id(user_id), []
    for number in range(40):
        await feed.append(user_id, new_id(), {"type": "x", "number": number})
    for turn in range(40):
        stage = stages[turn // 2 % 2]
        if turn % 2:
            event = await feed_over_socket(stage, cursor)
        else:
            event = await feed_over_sse(stage.client, stage.headers(), cursor)
        cursor = event["id"]
        numbers.append(event["number"])

    assert numbers == list(range(40))


async def feed_over_sse(client: httpx2.AsyncClient, headers: dict[str, str], cursor: str) -> Event:
    params = {"after": cursor}
    async with client.stream("GET", "/event", headers=headers, params=params) as response:
        return await anext(parsed(response))


async def feed_over_socket(stage: Stage, cursor: str) -> Event:
    async with socket_to(stage.client, stage.fakes.token(stage.user_id)) as socket:
        await socket.send(op="subscribe", id=1, after=cursor)
        return await anext(socket.events("feed"))

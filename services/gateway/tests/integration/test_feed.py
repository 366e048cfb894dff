"""The feed from RabbitMQ to every device, with the real servers."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest
from faststream.rabbit import RabbitBroker
from redis.asyncio import Redis

from libs.common.broker import make_brokers
from libs.common.clock import new_id, utc_now
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    Entitlements,
    Event,
    MessageChanged,
    SubscriptionChanged,
    Usage,
)
from libs.common.events.chat import Change
from libs.common.topology import EVENTS
from services.gateway import feed as feed_module
from services.gateway.feed import EXPIRY_S, FeedStore, feed_key
from services.gateway.hub import MAX_QUEUED
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.stage import parsed

pytestmark = pytest.mark.integration
Document = dict[str, Any]


@pytest.fixture
async def gateway(start_gateway: Start, redis: Redis) -> AsyncIterator[httpx2.AsyncClient]:
    async with start_gateway(heartbeat_s=0.3, user_requests_per_minute=0) as client:
        yield client


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
def headers(fakes: FakeServices, user_id: UUID) -> dict[str, str]:
    return {"Authorization": f"Bearer {fakes.token(user_id)}"}


async def watch(
    client: httpx2.AsyncClient, headers: dict[str, str], count: int, **options: Any
) -> list[Document]:
    """Return the first `count` events, heartbeats left out."""
    events: list[Document] = []
    async with asyncio.timeout(20), client.stream("GET", "/event", headers=headers, **options) as r:
        assert r.status_code == 200
        async for event in parsed(r):
            if event["type"] != "heartbeat":
                events.append(event)
            if len(events) == count:
                break
    return events


async def poll(client: httpx2.AsyncClient, headers: dict[str, str], **params: Any) -> Document:
    accept = {"Accept": "application/json"}
    response = await client.get("/event", headers=headers | accept, params=params)
    assert response.status_code == 200, response.text
    answer: Document = response.json()
    return answer


def everything_that_happens(user_id: UUID) -> list[Event]:
    room_id, reply_id = new_id(), new_id()
    reply: Document = {
        "user_id": user_id,
        "chatroom_id": room_id,
        "reply_id": reply_id,
        "attempt": 1,
    }
    room: Document = {"user_id": user_id, "chatroom_id": room_id}
    message = room | {"message_id": new_id(), "created_at": utc_now()}
    changes: tuple[Change, ...] = ("created", "updated", "deleted")
    return [
        *(ChatroomChanged(**room, change=change, version=1) for change in changes),
        *(MessageChanged(**message, change=change) for change in changes),
        AIReplyStarted(**reply, model="m"),
        AIReplyReady(**reply, content="hi", finish_reason="stop", model="m", usage=Usage()),
        AIReplyFailed(**reply, code="model_failed", detail="no", retryable=True),
        AIReplyStopped(**reply, content="h"),
        SubscriptionChanged(
            user_id=user_id,
            version=1,
            plan="pro",
            status="active",
            entitlements=Entitlements(messages_per_day=None),
        ),
    ]


async def publish(broker: RabbitBroker, event: Event) -> None:
    await broker.publish(
        event,
        exchange=EVENTS,
        routing_key=event.TYPE,
        message_id=str(event.event_id),
        message_type=event.TYPE,
        persist=True,
    )


async def test_what_services_announce_three_times_in_any_order_reaches_the_devices_once(
    start_gateway: Start, rabbitmq_url: str, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    """E2, E3: the feed holds each event once, whatever comes again or late."""
    happened = everything_that_happens(user_id)
    brokers = make_brokers(rabbitmq_url, service="tests", prefetch=1)
    async with start_gateway(rabbitmq_url=rabbitmq_url) as client, brokers.running():
        start = (await poll(client, headers))["cursor"]
        for event in random.sample(happened * 3, k=3 * len(happened)):
            await publish(brokers.publish, event)
        await publish(brokers.publish, everything_that_happens(new_id())[0])

        async def all_there() -> bool:
            return await redis.xlen(feed_key(user_id)) > len(happened)

        await eventually(all_there)
        events = await watch(client, headers, len(happened), params={"after": start})
        polled = await poll(client, headers, after=start)

    assert sorted(event["type"] for event in events) == sorted(
        [
            *("chatroom.created", "chatroom.deleted", "chatroom.updated"),
            *("generation.completed", "generation.failed", "generation.started"),
            *("generation.stopped", "message.created", "message.deleted", "message.updated"),
            "subscription.updated",
        ]
    )
    assert polled["data"] == events
    assert polled["cursor"] == events[-1]["id"]
    finished = next(event for event in events if event["type"] == "generation.completed")
    assert finished["data"]["message"]["content"] == "hi"
    assert finished["v"] == 1


async def test_an_event_is_in_the_feed_once_however_often_it_comes(redis: Redis) -> None:
    feed, user_id, event_id = FeedStore(redis, redis), new_id(), new_id()

    news = [await feed.append(user_id, event_id, {"type": "x"}) for _ in range(3)]

    assert news == [True, False, False]
    assert await redis.xlen(feed_key(user_id)) == 1


async def test_a_feed_is_bounded_in_length_and_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_ENTRIES", 200)
    feed, user_id = FeedStore(redis, redis), new_id()
    for _ in range(700):
        await feed.append(user_id, new_id(), {"type": "x"})

    assert 200 <= await redis.xlen(feed_key(user_id)) <= 300
    assert await redis.zcard(f"feed-ids:{user_id}") <= 400
    async for key in redis.scan_iter("feed*"):
        assert EXPIRY_S - 60 < await redis.ttl(key) <= EXPIRY_S


async def test_a_feed_begins_now_and_goes_on_where_it_was_left(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    feed = FeedStore(redis, redis)
    await feed.append(user_id, new_id(), {"type": "old"})
    (ready,) = await watch(gateway, headers, 1)
    for number in range(5):
        await feed.append(user_id, new_id(), {"type": "new", "number": number})

    first = await watch(gateway, headers | {"Last-Event-ID": ready["id"]}, 2)
    rest = await watch(gateway, headers, 3, params={"after": first[-1]["id"]})

    assert ready["type"] == "stream.ready"
    assert ready["data"]["cursor"] == ready["id"]
    assert [event["number"] for event in first + rest] == [0, 1, 2, 3, 4]


async def test_an_open_feed_tells_at_once_and_beats_while_silent(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    async with asyncio.timeout(10), gateway.stream("GET", "/event", headers=headers) as response:
        events = parsed(response)
        kinds = [(await anext(events))["type"] for _ in range(3)]
        await FeedStore(redis, redis).append(user_id, new_id(), {"type": "x"})
        while (event := await anext(events))["type"] == "heartbeat":
            pass

    assert kinds == ["stream.ready", "heartbeat", "heartbeat"]
    assert event["type"] == "x"


@pytest.mark.parametrize("cursor", ["nonsense", "1-1", "99999999999999-0"])
async def test_a_cursor_that_leads_nowhere_gets_a_reset(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID, cursor: str
) -> None:
    """S2: an id that nobody gave out is no error."""
    await FeedStore(redis, redis).append(user_id, new_id(), {"type": "old"})

    (event,) = await watch(gateway, headers, 1, params={"after": cursor})
    polled = await poll(gateway, headers, after=cursor)

    assert event["type"] == "stream.reset"
    assert event["data"]["reason"] == "cursor_expired"
    assert "/chatroom" in event["data"]["refetch"]
    assert polled["data"][0]["type"] == "stream.reset"
    assert polled["cursor"] == event["id"] == event["data"]["cursor"]


async def test_a_device_that_falls_behind_still_gets_every_event(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    count = MAX_QUEUED * 2
    async with asyncio.timeout(20), gateway.stream("GET", "/event", headers=headers) as response:
        events = parsed(response)
        await anext(events)
        async with redis.pipeline(transaction=True) as pipeline:
            for number in range(count):  # all in one write: no reader keeps up with that
                entry = orjson.dumps({"type": "x", "number": number})
                pipeline.eval(_APPEND, 1, feed_key(user_id), entry)
            await pipeline.execute()
        numbers: list[int] = []
        while len(numbers) < count:
            event = await anext(events)
            if event["type"] == "x":
                numbers.append(event["number"])

    assert numbers == list(range(count))


async def test_a_device_whose_place_is_gone_meanwhile_is_reset_as_slow(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    async with asyncio.timeout(20), gateway.stream("GET", "/event", headers=headers) as response:
        events = parsed(response)
        await anext(events)
        await redis.delete(feed_key(user_id))
        await redis.client_kill_filter(_type="pubsub")
        while (event := await anext(events))["type"] == "heartbeat":
            pass

    assert (event["type"], event["data"]["reason"]) == ("stream.reset", "slow_consumer")


async def test_a_feed_wants_a_token(gateway: httpx2.AsyncClient) -> None:
    assert (await gateway.get("/event")).status_code == 401


_APPEND = """
local id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[1])
"""

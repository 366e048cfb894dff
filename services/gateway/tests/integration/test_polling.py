"""The feed for whoever cannot keep a connection open."""

import asyncio
import time
from uuid import UUID

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from services.gateway.feed import FeedStore, feed_key
from services.gateway.tests.integration.conftest import eventually
from services.gateway.tests.integration.test_feed import gateway, headers, poll, user_id

pytestmark = pytest.mark.integration
__all__ = ["gateway", "headers", "user_id"]


async def test_an_empty_feed_that_is_polled_is_not_reset(
    gateway: httpx2.AsyncClient, headers: dict[str, str], redis: Redis, user_id: UUID
) -> None:
    start = await poll(gateway, headers)
    again = await poll(gateway, headers, after=start["cursor"])
    await FeedStore(redis, redis).append(user_id, new_id(), {"type": "first"})
    news = await poll(gateway, headers, after=start["cursor"])

    assert again == start
    assert [event["type"] for event in news["data"]] == ["first"]


async def test_a_poll_waits_for_the_first_event_and_no_longer(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    start = (await poll(gateway, headers))["cursor"]
    began = time.monotonic()
    waiting = asyncio.create_task(poll(gateway, headers, after=start, wait=20))

    async def is_waiting() -> bool:
        return bool((await redis.pubsub_numsub(feed_key(user_id)))[0][1])

    await eventually(is_waiting)
    await FeedStore(redis, redis).append(user_id, new_id(), {"type": "x"})
    answer = await waiting
    assert [event["type"] for event in answer["data"]] == ["x"]
    assert time.monotonic() - began < 15

    nothing = await poll(gateway, headers, after=answer["cursor"], wait=1)
    assert nothing == {"data": [], "cursor": answer["cursor"], "has_more": False}


async def test_a_long_feed_is_polled_page_by_page(
    gateway: httpx2.AsyncClient, redis: Redis, headers: dict[str, str], user_id: UUID
) -> None:
    cursor = (await poll(gateway, headers))["cursor"]
    for number in range(250):
        await FeedStore(redis, redis).append(user_id, new_id(), {"type": "x", "number": number})
    numbers, has_more = [], True
    while has_more:
        answer = await poll(gateway, headers, after=cursor)
        cursor, has_more = answer["cursor"], answer["has_more"]
        numbers += [event["number"] for event in answer["data"]]

    assert numbers == list(range(250))


@pytest.mark.parametrize("wait", ["31", "-1", "soon", "1.5"])
async def test_a_wait_that_is_out_of_range_is_refused(
    gateway: httpx2.AsyncClient, headers: dict[str, str], wait: str
) -> None:
    accept = {"Accept": "application/json"}
    answer = await gateway.get("/event", headers=headers | accept, params={"wait": wait})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")

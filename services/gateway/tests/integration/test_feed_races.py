"""What happens while a device takes its place in the feed."""

import asyncio
from uuid import UUID

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from services.gateway.feed import FeedStore
from services.gateway.replay import StreamEntry
from services.gateway.tests.integration.stage import parsed
from services.gateway.tests.integration.test_feed import gateway, headers, user_id

pytestmark = pytest.mark.integration
__all__ = ["gateway", "headers", "user_id"]


async def test_an_event_that_is_both_read_and_heard_is_told_once(
    gateway: httpx2.AsyncClient,
    redis: Redis,
    headers: dict[str, str],
    user_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S2: it comes between the moment that the device listens and the moment that it reads."""
    feed = FeedStore(redis, redis)
    cursor = await feed.last_id(user_id)
    read_after = FeedStore.read_after

    async def happen_then_read(
        self: FeedStore, user_id: UUID, cursor: str, *, limit: int | None = None
    ) -> list[StreamEntry] | None:
        await feed.append(user_id, new_id(), {"type": "x", "number": 0})
        return await read_after(self, user_id, cursor, limit=limit)

    monkeypatch.setattr(FeedStore, "read_after", happen_then_read)
    numbers: list[int] = []
    params = {"after": cursor}
    async with (
        asyncio.timeout(10),
        gateway.stream("GET", "/event", headers=headers, params=params) as response,
    ):
        events = parsed(response)
        numbers.append((await anext(events))["number"])
        await feed.append(user_id, new_id(), {"type": "x", "number": 1})
        while numbers[-1] != 1:
            if (event := await anext(events))["type"] == "x":
                numbers.append(event["number"])

    assert numbers == [0, 1]

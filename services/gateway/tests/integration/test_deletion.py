"""A user's end, as the gateway sees it."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.deleted_users import redis_key
from libs.common.events import ChatroomChanged, UserDeleted
from services.gateway.consumers import forget, tell
from services.gateway.feed import FeedStore
from services.gateway.resources import Resources
from services.gateway.tests.integration.conftest import FakeServices, Start

pytestmark = pytest.mark.integration


@pytest.fixture
async def gateway(start_gateway: Start, redis: Redis) -> AsyncIterator[httpx2.AsyncClient]:
    async with start_gateway() as client:
        yield client


async def test_a_deleted_user_is_refused_and_forgotten_whatever_comes_late(
    gateway: httpx2.AsyncClient, fakes: FakeServices, redis: Redis
) -> None:
    """P3: feed, rate and tokens; an event that was on its way tells nobody."""
    feed, user_id, other = FeedStore(redis, redis), new_id(), new_id()
    res = cast("Resources", SimpleNamespace(feed=feed))
    headers = {"Authorization": f"Bearer {fakes.token(user_id)}"}
    polling = headers | {"Accept": "application/json"}
    changed = ChatroomChanged(user_id=user_id, chatroom_id=new_id(), change="deleted", version=2)
    assert (await gateway.get("/event", headers=polling)).status_code == 200
    await tell(res, changed)
    await tell(res, changed.model_copy(update={"user_id": other}))
    assert str(user_id) in str(await redis.keys("*"))

    for _ in range(2):
        await forget(res, UserDeleted(user_id=user_id))
        await tell(res, changed.model_copy(update={"event_id": new_id()}))
        await feed.last_id(user_id)
        refused = await gateway.get("/user/me", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_revoked")

    kept = {redis_key(user_id), f"feed:{other}", f"feed-ids:{other}"}
    assert set(await redis.keys("*")) == {key.encode() for key in kept}

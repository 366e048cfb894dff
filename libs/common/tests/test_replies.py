import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest
from redis.asyncio import Redis

from libs.common import replies
from libs.common.clock import new_id
from libs.common.replies import Entry, ReplyWriter, stream_key

pytestmark = pytest.mark.integration
KEY = stream_key(user_id=new_id(), chatroom_id=new_id(), reply_id=new_id())


@pytest.mark.parametrize(
    ("kind", "expiry_s"),
    [("started", 3600), ("delta", 3600), ("completed", 900), ("failed", 900), ("stopped", 900)],
)
async def test_every_entry_leaves_the_stream_with_an_end_of_its_own(
    redis: Redis, kind: Any, expiry_s: int
) -> None:
    await ReplyWriter(redis).append(KEY, Entry(kind, 1))

    assert expiry_s - 5 < await redis.ttl(KEY) <= expiry_s


async def test_a_stream_cannot_grow_for_ever(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "MAX_ENTRIES", 100)
    writer = ReplyWriter(redis)

    for offset in range(500):
        await writer.append(KEY, Entry("delta", 1, offset, "x"))

    assert 100 <= await redis.xlen(KEY) <= 200  # Valkey drops whole nodes of 100
    newest: Any = await redis.xrevrange(KEY, count=1)
    assert orjson.loads(newest[0][1][b"d"])["offset"] == 499


async def test_whoever_listens_hears_the_entry_with_its_id(redis: Redis) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe(KEY)
        await listener.get_message(ignore_subscribe_messages=False, timeout=5)

        await ReplyWriter(redis).append(KEY, Entry("delta", 2, 3, "tea"))

        async with asyncio.timeout(5):
            while (message := await listener.get_message(timeout=5)) is None:
                pass
    entry_id, _, body = message["data"].partition(b" ")
    assert await redis.xrange(KEY, entry_id, entry_id) == [(entry_id, {b"d": body})]
    assert orjson.loads(body) == {"type": "delta", "attempt": 2, "offset": 3, "text": "tea"}


def test_the_key_names_its_owner() -> None:
    mine, yours, room, reply = new_id(), new_id(), new_id(), new_id()

    def key(owner: UUID) -> str:
        return stream_key(user_id=owner, chatroom_id=room, reply_id=reply)

    assert key(mine) != key(yours)
    assert str(mine) in key(mine)

"""One reply on stage: who writes it, and who watches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import orjson
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.replies import Entry, ReplyWriter, stream_key
from services.gateway.tests.integration.conftest import FakeServices

Event = dict[str, Any]


class Stage:
    """One reply, its writer and its readers.

    Attributes:
        written: length of its text so far.
    """

    def __init__(self, client: httpx2.AsyncClient, fakes: FakeServices, redis: Redis) -> None:
        self.client = client
        self.fakes = fakes
        self.redis = redis
        self.user_id, self.room_id, self.reply_id = new_id(), new_id(), new_id()
        self.written = 0
        self.set_status("running")

    @property
    def key(self) -> str:
        return stream_key(user_id=self.user_id, chatroom_id=self.room_id, reply_id=self.reply_id)

    @property
    def path(self) -> str:
        return f"/chatroom/{self.room_id}/message/{self.reply_id}/stream"

    def headers(self, user_id: UUID | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.fakes.token(user_id or self.user_id)}"}

    def set_status(self, status: str, content: str = "") -> None:
        self.fakes.messages[str(self.reply_id)] = {
            "role": "assistant",
            "status": status,
            "content": content,
            "problem": None,
            "finish_reason": "stop",
        }

    async def write(self, *texts: str, attempt: int = 1, start: int = 0) -> None:
        writer, offset = ReplyWriter(self.redis), start
        for text in texts:
            await writer.append(self.key, Entry("delta", attempt, offset, text))
            offset += len(text)
        self.written = offset

    async def end(self, attempt: int = 1) -> None:
        end = Entry("completed", attempt, self.written, finish_reason="stop")
        await ReplyWriter(self.redis).append(self.key, end)

    @asynccontextmanager
    async def watching(self, **options: Any) -> AsyncIterator[AsyncIterator[Event]]:
        headers = self.headers() | options.pop("headers", {})
        async with self.client.stream("GET", self.path, headers=headers, **options) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-cache, no-transform"
            yield parsed(response)

    async def is_watched(self) -> bool:
        return bool((await self.redis.pubsub_numsub(self.key))[0][1])


async def parsed(response: httpx2.Response) -> AsyncIterator[Event]:
    event: Event = {}
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            event["id"] = line[4:]
        elif line.startswith("data: "):
            event |= orjson.loads(line[6:])
        elif line.startswith(":"):
            yield {"type": "heartbeat"}
        elif not line and event:
            yield event
            event = {}


async def all_of(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events if event["type"] != "heartbeat"]


def text_of(events: list[Event]) -> str:
    text = ""
    for event in events:
        if event["type"] == "generation.snapshot":
            text = event["text"]
        elif event["type"] == "message.delta":
            assert event["offset"] == len(text)
            text += event["text"]
    return text

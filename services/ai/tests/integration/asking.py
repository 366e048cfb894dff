"""What is asked of ai in its tests, and what comes of it."""

from typing import Any

import httpx2
import orjson
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.events import (
    AIReplyStarted,
    AIReplyStopped,
    Event,
    MessagePosted,
    ReplyStopRequested,
)
from libs.common.testing import eventually
from services.ai.live import stream_key_of

TERMINAL = {"AIReplyReady", "AIReplyFailed", "AIReplyStopped"}


def posted(content: str = "hello", **values: object) -> MessagePosted:
    return MessagePosted.model_validate(
        {
            "user_id": new_id(),
            "chatroom_id": new_id(),
            "message_id": new_id(),
            "reply_id": new_id(),
            "content": content,
            **values,
        }
    )


def stop_of(event: MessagePosted) -> ReplyStopRequested:
    return ReplyStopRequested(
        user_id=event.user_id, chatroom_id=event.chatroom_id, reply_id=event.reply_id
    )


def started_of(event: MessagePosted) -> AIReplyStarted:
    return AIReplyStarted(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=1,
        model="test",
    )


def stopped_of(event: MessagePosted) -> AIReplyStopped:
    return AIReplyStopped(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=1,
        model="test",
    )


async def live_text(redis: Redis, event: MessagePosted) -> str:
    stored: Any = await redis.xrange(stream_key_of(event))
    return "".join(orjson.loads(fields[b"d"])["text"] for _, fields in stored)


async def calls(gemini: httpx2.AsyncClient) -> int:
    return len((await gemini.get("/_emulator/requests")).json()["requests"])


async def last_entry(redis: Redis, event: MessagePosted) -> str:
    stored: Any = await redis.xrevrange(stream_key_of(event), count=1)
    return str(orjson.loads(stored[0][1][b"d"])["type"])


async def call_when(gemini: httpx2.AsyncClient, state: str, *, within_s: float = 5) -> Any:
    async def found() -> Any:
        for call in (await gemini.get("/_emulator/requests")).json()["requests"]:
            if call[state]:
                return call
        return None

    return await eventually(found, within_s=within_s)


def ends(announced: list[Event]) -> list[str]:
    return [name for name in (type(e).__name__ for e in announced) if name in TERMINAL]

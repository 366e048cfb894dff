"""What is asked of ai in its tests, and what comes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import orjson
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStopped,
    Event,
    MessagePosted,
    ReplyStopRequested,
)
from libs.common.testing import eventually
from services.ai.live import stream_key_of
from services.ai.resources import Resources

TERMINAL = {"AIReplyReady", "AIReplyFailed", "AIReplyStopped"}
EndT = TypeVar("EndT", AIReplyReady, AIReplyFailed, AIReplyStopped)


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


def stopped_of(event: MessagePosted) -> AIReplyStopped:
    return AIReplyStopped(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=1,
        model="test",
    )


async def claimed_by(conn: Connection, event: MessagePosted, worker: int) -> None:
    await conn.execute(
        """
        INSERT INTO generation
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 1, $4, 'test', now())
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
        worker,
    )


@asynccontextmanager
async def refusing(conn: Connection, *events: type[Event]) -> AsyncIterator[None]:
    """Let the outbox take none of these events while the block runs."""
    types = ", ".join(f"'{event.TYPE}'" for event in events)
    await conn.execute(f"ALTER TABLE outbox ADD CHECK (type NOT IN ({types})) NOT VALID")
    try:
        yield
    finally:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_type_check")


async def live_text(redis: Redis, event: MessagePosted) -> str:
    stored: Any = await redis.xrange(stream_key_of(event))
    return "".join(orjson.loads(fields[b"d"])["text"] for _, fields in stored)


async def calls(gemini: httpx2.AsyncClient) -> int:
    return len((await gemini.get("/_emulator/requests")).json()["requests"])


async def last_entry(redis: Redis, event: MessagePosted) -> str:
    """Return the type of the stream's newest entry, empty if it has none yet."""
    stored: Any = await redis.xrevrange(stream_key_of(event), count=1)
    return str(orjson.loads(stored[0][1][b"d"])["type"]) if stored else ""


async def call_when(gemini: httpx2.AsyncClient, state: str, *, within_s: float = 5) -> Any:
    async def found() -> Any:
        for call in (await gemini.get("/_emulator/requests")).json()["requests"]:
            if call[state]:
                return call
        return None

    return await eventually(found, within_s=within_s)


def ends(announced: list[Event]) -> list[str]:
    return [name for name in (type(e).__name__ for e in announced) if name in TERMINAL]


def has_ended(announced: list[Event], event: MessagePosted) -> bool:
    return bool(_ends_of(announced, event))


def end_of(announced: list[Event], event: MessagePosted, kind: type[EndT]) -> EndT:
    """Return the one end of the reply to `event`, whatever else was announced."""
    [end] = _ends_of(announced, event)
    assert isinstance(end, kind), end
    return end


def _ends_of(announced: list[Event], event: MessagePosted) -> list[Event]:
    return [
        each
        for each in announced
        if isinstance(each, AIReplyReady | AIReplyFailed | AIReplyStopped)
        and each.reply_id == event.reply_id
    ]


async def claimed(res: Resources) -> int:
    """Return how many replies a worker writes, or wrote."""
    count: int = await res.db.fetchval("SELECT count(*) FROM generation")
    return count

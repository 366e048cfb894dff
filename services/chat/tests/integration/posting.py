"""What the tests of posts and of their replies have in common."""

from typing import Any, TypeVar
from uuid import UUID

import httpx2
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    Entitlements,
    Event,
    SubscriptionChanged,
    Usage,
)
from services.chat.actions import entitlements, messages, replies
from services.chat.models import Draft, Posted

EventT = TypeVar("EventT", bound=Event)


async def post(
    app: FastAPI,
    room_id: UUID,
    user_id: UUID,
    content: str = "hello",
    *,
    edits: UUID | None = None,
    client_message_id: str | None = None,
    model: str | None = None,
) -> Posted:
    draft = Draft(user_id, room_id, content, edits, client_message_id, model)
    return await messages.post_message(app.state.resources, draft)


def ready(posted: Posted, room_id: UUID, user_id: UUID, content: str = "hi") -> AIReplyReady:
    return AIReplyReady(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=1,
        content=content,
        finish_reason="stop",
        model="test",
        usage=Usage(),
    )


def failed(posted: Posted, room_id: UUID, user_id: UUID, content: str = "") -> AIReplyFailed:
    return AIReplyFailed(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=1,
        content=content,
        code="model_unavailable",
        detail="later",
        retryable=True,
    )


def stopped(posted: Posted, room_id: UUID, user_id: UUID, content: str = "") -> AIReplyStopped:
    return AIReplyStopped(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=1,
        content=content,
    )


def started(posted: Posted, room_id: UUID, user_id: UUID, attempt: int = 1) -> AIReplyStarted:
    return AIReplyStarted(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=attempt,
        model=f"model of attempt {attempt}",
    )


async def turn(
    app: FastAPI, room_id: UUID, user_id: UUID, question: str, answer: str, **options: Any
) -> Posted:
    """Post a question and have it answered."""
    posted = await post(app, room_id, user_id, question, **options)
    event = ready(posted, room_id, user_id, answer)
    await replies.record_reply(app.state.resources, event)
    return posted


async def allow_everything(app: FastAPI, user_id: UUID, models: tuple[str, ...] = ()) -> None:
    event = SubscriptionChanged(
        user_id=user_id,
        version=1,
        plan="pro",
        status="active",
        entitlements=Entitlements(messages_per_day=None, models=models),
    )
    await entitlements.apply_subscription(app.state.resources, event)


async def waiting(conn: Connection, event: type[EventT]) -> list[EventT]:
    """Return the events of that kind that wait in the outbox, oldest first."""
    types = [each.TYPE for each in (event, *event.__subclasses__())]
    rows = await conn.fetch("SELECT payload FROM outbox WHERE type = ANY($1) ORDER BY id", types)
    return [event.model_validate_json(row["payload"]) for row in rows]


async def shown(client: httpx2.AsyncClient, room_id: UUID, query: str = "") -> list[str]:
    """Return the texts of the shown branch, oldest first."""
    response = await client.get(f"/chatroom/{room_id}/message?{query}")
    assert response.status_code == 200, response.text
    return [message["content"] for message in response.json()["data"]][::-1]


async def status_of(conn: Connection, message_id: UUID) -> str:
    status: str = await conn.fetchval("SELECT status FROM message WHERE id = $1", message_id)
    return status


async def announced(conn: Connection) -> int:
    """Tell how many replies have had their turn, published or not."""
    count: int = await conn.fetchval("SELECT count(*) FROM message WHERE announced_at IS NOT NULL")
    return count


async def used(conn: Connection, user_id: UUID) -> int:
    units: int = await conn.fetchval("SELECT used FROM quota WHERE user_id = $1", user_id)
    return units

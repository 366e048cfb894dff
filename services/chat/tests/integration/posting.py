"""What the tests of posts and of their replies have in common."""

from uuid import UUID

from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.events import AIReplyFailed, AIReplyReady, Usage
from services.chat.actions import messages
from services.chat.models import Posted


async def post(app: FastAPI, room_id: UUID, user_id: UUID, content: str = "hello") -> Posted:
    return await messages.post_message(
        app.state.resources,
        chatroom_id=room_id,
        user_id=user_id,
        content=content,
        idempotency_key=None,
    )


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

"""Replies: from queued to their end."""

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ReplyStopRequested,
)
from libs.common.tracing import traceparent
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError
from services.chat.models import Message, ReplyEnd
from services.chat.resources import Resources
from services.chat.store import chatrooms, messages
from services.chat.store import replies as store

SWEEP_BATCH = 100


async def record_start(res: Resources, event: AIReplyStarted) -> None:
    """Mark the reply as running; a no-op if it has ended or a later attempt runs."""
    async with res.db.acquire() as conn:
        await store.start_reply(
            conn,
            chatroom_id=event.chatroom_id,
            reply_id=event.reply_id,
            attempt=event.attempt,
            model=event.model,
        )


async def record_reply(res: Resources, event: AIReplyReady) -> None:
    """Store the finished reply; a second delivery of the same event changes nothing."""
    end = _end_of(event, "completed", model=event.model, finish_reason=event.finish_reason)
    await _end_reply(res, end, event_id=event.event_id)


async def record_failure(res: Resources, event: AIReplyFailed) -> None:
    """Store why the reply failed; give back what it took if nothing had been written."""
    problem = {"code": event.code, "detail": event.detail, "retryable": event.retryable}
    end = _end_of(event, "failed", model=event.model, problem=problem)
    await _end_reply(res, end, event_id=event.event_id)


async def record_stop(res: Resources, event: AIReplyStopped) -> None:
    """Store what had been written; give back what it took if that was nothing."""
    end = _end_of(event, "stopped", model=event.model)
    await _end_reply(res, end, event_id=event.event_id)


async def stop_chatroom(res: Resources, *, chatroom_id: UUID, user_id: UUID) -> list[Message]:
    """Ask ai to end every open reply of the room; return them as they are now, oldest first.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    async with res.db.acquire() as conn, conn.transaction():
        if not await chatrooms.owns_chatroom(conn, chatroom_id=chatroom_id, user_id=user_id):
            raise ChatroomNotFoundError("you have no such chatroom; see GET /chatroom")
        replies = await messages.list_open_replies(conn, chatroom_id=chatroom_id)
        await _ask_to_stop(conn, replies, user_id=user_id)
    res.relay.nudge()
    return replies


async def stop_reply(
    res: Resources, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> list[Message]:
    """Ask ai to end that reply, or the replies to that message; return them as they are now.

    Those that have ended stay as they are.

    Raises:
        MessageNotFoundError: it is not in that room of the user's.
    """
    async with res.db.acquire() as conn, conn.transaction():
        replies = await messages.list_replies_to(
            conn, chatroom_id=chatroom_id, message_id=message_id, user_id=user_id
        )
        await _ask_to_stop(conn, replies, user_id=user_id)
    if not replies:
        raise MessageNotFoundError("there is no such message in this chatroom")
    res.relay.nudge()
    return replies


async def fail_overdue_replies(res: Resources) -> int:
    """End replies that nobody finished within the deadline; return how many there were."""
    announced_before = utc_now() - timedelta(seconds=res.settings.reply_deadline_s)
    async with res.db.acquire() as conn:
        overdue = await store.list_overdue_replies(
            conn, announced_before=announced_before, limit=SWEEP_BATCH
        )
    problem = {
        "code": "reply_timed_out",
        "detail": "the reply took too long; send the message again",
        "retryable": True,
    }
    for reply in overdue:
        end = ReplyEnd(
            reply_id=reply.reply_id,
            chatroom_id=reply.chatroom_id,
            user_id=reply.user_id,
            status="failed",
            attempt=reply.attempt,
            problem=problem,
        )
        await _end_reply(res, end, event_id=None)
    return len(overdue)


async def _ask_to_stop(conn: Connection, replies: list[Message], *, user_id: UUID) -> None:
    for reply in replies:
        if reply.status in {"queued", "running"}:
            event = ReplyStopRequested(
                user_id=user_id, chatroom_id=reply.chatroom_id, reply_id=reply.id
            )
            await outbox.add(conn, event)


def _end_of(
    event: AIReplyReady | AIReplyFailed | AIReplyStopped,
    status: Literal["completed", "failed", "stopped"],
    *,
    model: str | None = None,
    finish_reason: str | None = None,
    problem: dict[str, Any] | None = None,
) -> ReplyEnd:
    return ReplyEnd(
        reply_id=event.reply_id,
        chatroom_id=event.chatroom_id,
        user_id=event.user_id,
        status=status,
        attempt=event.attempt,
        content=event.content,
        model=model,
        finish_reason=finish_reason,
        problem=problem,
        tokens=event.usage.total if event.usage else None,
    )


async def _end_reply(res: Resources, end: ReplyEnd, *, event_id: UUID | None) -> None:
    async with res.db.acquire() as conn:
        announced = await store.end_reply(
            conn,
            end,
            event_id=event_id,
            event_ids=[new_id(), new_id(), new_id()],
            now=utc_now(),
            traceparent=traceparent(),
        )
    res.relay.send(announced)

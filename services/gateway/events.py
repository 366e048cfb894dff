"""What devices are told, one table of it, and how broker events become entries of the feed: no I/O.

`docs/api/events.md` documents every type; a contract test compares the two.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    Event,
    MessageChanged,
    SessionRevoked,
    SubscriptionChanged,
)

VERSION = 1
"""Of the envelope; members are only ever added to it."""

STREAM_READY = "stream.ready"
STREAM_RESET = "stream.reset"
STREAM_RECONNECT = "stream.reconnect"
SESSION_REVOKED = "session.revoked"
"""In the feed, and the last event of every connection of the session that ended."""

ON_EVERY_STREAM = frozenset({STREAM_READY, STREAM_RESET, STREAM_RECONNECT})
"""About the connection itself; no cursor points at them."""

IN_THE_FEED = frozenset(
    {
        *("chatroom.created", "chatroom.updated", "chatroom.deleted"),
        *("message.created", "message.updated", "message.deleted"),
        *("generation.started", "generation.completed", "generation.failed", "generation.stopped"),
        "subscription.updated",
        SESSION_REVOKED,
    }
)
IN_A_REPLY = frozenset(
    {
        *("message.created", "message.delta", "generation.started", "generation.snapshot"),
        *("generation.completed", "generation.failed", "generation.stopped"),
    }
)
REFETCH = ("/chatroom", "/subscription/status")
"""What a device reads again whose place in the feed is gone."""

RECONNECT_AFTER_MS = 500

Document = dict[str, Any]


def feed_document(event: Event) -> Document:
    """Return the entry of the feed for `event`, without its cursor.

    Raises:
        TypeError: devices are not told of such an event.
    """
    kind, place, data = _told(event)
    return {
        "type": kind,
        "v": VERSION,
        "time": event.occurred_at.isoformat().replace("+00:00", "Z"),
        **place,
        "data": data,
    }


def with_cursor(entry_id: str, document: Mapping[str, Any]) -> Document:
    """Return the envelope as devices see it."""
    return {"id": entry_id, **document}


def ready(cursor: str, *, heartbeat_s: float, max_age_s: float) -> Document:
    """Return the event that opens a feed: from `cursor` on nothing will be missed."""
    data = {"cursor": cursor, "heartbeat_s": heartbeat_s, "max_age_s": max_age_s}
    return {"type": STREAM_READY, "v": VERSION, "data": data}


def reset(cursor: str, *, reason: str) -> Document:
    """Return the event for a device that missed some: read again what `refetch` names, go on here.

    Args:
        cursor: where the feed goes on.
        reason: `cursor_expired` or `slow_consumer`.
    """
    data = {"reason": reason, "cursor": cursor, "refetch": REFETCH}
    return {"type": STREAM_RESET, "v": VERSION, "data": data}


def reconnect(cursor: str | None, *, reason: str) -> Document:
    """Return the last event of a connection that ends while there is more to come.

    Args:
        cursor: what to come back with; None where nothing was told yet.
        reason: `max_age`, `token_expired` (come back with a new one) or `deploy`.
    """
    data = {"after_ms": RECONNECT_AFTER_MS, "cursor": cursor, "reason": reason}
    return {"type": STREAM_RECONNECT, "v": VERSION, "data": data}


def farewell(cursor: str | None, *, reason: str, session_id: UUID | None) -> Document:
    """Return the last event of a connection that ends for `reason`, see `Lifetime.ending`."""
    if reason != "session_revoked":
        return reconnect(cursor, reason=reason)
    return {"type": SESSION_REVOKED, "v": VERSION, "data": {"session_id": session_id}}


def _told(event: Event) -> tuple[str, Document, Document]:
    """Return type, place and data."""
    match event:
        case ChatroomChanged():
            data = {"version": event.version, "chatroom": event.chatroom}
            return f"chatroom.{event.change}", {"chatroom_id": event.chatroom_id}, data
        case MessageChanged():
            return f"message.{event.change}", {"chatroom_id": event.chatroom_id}, _message(event)
        case AIReplyStarted() | AIReplyReady() | AIReplyFailed() | AIReplyStopped():
            place = {"chatroom_id": event.chatroom_id, "reply_id": event.reply_id}
            kind, data = _generation(event)
            return f"generation.{kind}", {**place, "attempt": event.attempt}, data
        case SubscriptionChanged():
            data = event.model_dump(mode="json", exclude={"event_id", "occurred_at", "user_id"})
            return "subscription.updated", {}, data
        case SessionRevoked():
            return SESSION_REVOKED, {}, {"session_id": event.session_id, "reason": event.reason}
    raise TypeError(f"{event.TYPE} is not for devices")


def _message(event: MessageChanged) -> Document:
    message: Document = {"id": event.message_id, "chatroom_id": event.chatroom_id}
    if event.change == "created":
        message |= {
            "role": "user",
            "content": event.content,
            "client_message_id": event.client_message_id,
            "created_at": event.created_at,
        }
        return {"message": message, "reply_id": event.reply_id}
    if event.change == "updated":
        message["feedback"] = event.feedback
    return {"message": message}


def _generation(
    event: AIReplyStarted | AIReplyReady | AIReplyFailed | AIReplyStopped,
) -> tuple[str, Document]:
    if isinstance(event, AIReplyStarted):
        return "started", {"model": event.model}
    message: Document = {
        "id": event.reply_id,
        "chatroom_id": event.chatroom_id,
        "role": "assistant",
        "content": event.content,
    }
    data: Document = {"message": message}
    if isinstance(event, AIReplyReady):
        message |= {"status": "completed", "model": event.model}
        data |= {"finish_reason": event.finish_reason, "usage": event.usage.model_dump()}
        return "completed", data
    if isinstance(event, AIReplyFailed):
        problem = {"code": event.code, "detail": event.detail}
        message["status"] = "failed"
        data |= {"problem": problem, "retryable": event.retryable}
        return "failed", data
    message |= {"status": "stopped", "model": event.model}
    return "stopped", data

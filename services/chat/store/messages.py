"""Messages: what users wrote, and what they read."""

import json
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Message, Posted


async def post_message(
    conn: Connection,
    *,
    user_id: UUID,
    chatroom_id: UUID,
    message_id: UUID,
    reply_id: UUID,
    event_id: UUID,
    content: str,
    idempotency_key: str | None,
    now: datetime,
    basic_allowance: int,
    traceparent: str | None,
) -> Posted:
    """Store a post, its pending reply, its unit of quota and its event, all or nothing.

    Locks the room and the user's quota until the statement's end.
    """
    row = await conn.fetchrow(
        """
        SELECT outcome, message_id, reply_id, created_at, allowance, used, last_id
        FROM post_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        user_id,
        chatroom_id,
        message_id,
        reply_id,
        event_id,
        content,
        idempotency_key,
        now,
        basic_allowance,
        traceparent,
    )
    return Posted(**row)  # type: ignore[arg-type] # a function with OUT parameters gives one row


async def list_messages(
    conn: Connection, *, chatroom_id: UUID, before: UUID | None, limit: int
) -> list[Message]:
    """Return the room's messages before the id `before`, newest first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, content, problem, model, finish_reason,
            created_at, ended_at
        FROM message
        WHERE chatroom_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC
        LIMIT $3
        """,
        chatroom_id,
        before,
        limit,
    )
    return [_message(row) for row in rows]


async def find_message(
    conn: Connection, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> Message | None:
    """Return the message if it is in that room of that user."""
    row = await conn.fetchrow(
        """
        SELECT id, chatroom_id, role, status, reply_to, content, problem, model, finish_reason,
            created_at, ended_at
        FROM message
        WHERE chatroom_id = $1 AND id = $2 AND user_id = $3
        """,
        chatroom_id,
        message_id,
        user_id,
    )
    return _message(row) if row else None


def _message(row: object) -> Message:
    fields = dict(row)  # type: ignore[call-overload]
    if fields["problem"] is not None:
        fields["problem"] = json.loads(fields["problem"])
    return Message(**fields)

"""Replies: from queued to their end."""

import json
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import ReplyEnd


async def start_reply(
    conn: Connection, *, chatroom_id: UUID, reply_id: UUID, attempt: int, model: str
) -> None:
    """Mark an open reply as running, unless a later attempt did.

    One that ended without telling its model, before this news of the same attempt, learns it.
    """
    await conn.execute(
        """
        UPDATE message SET attempt = $3, model = $4,
            status = CASE status WHEN 'queued' THEN 'running' ELSE status END
        WHERE chatroom_id = $1 AND id = $2 AND (
            status IN ('queued', 'running') AND attempt < $3
            OR status IN ('failed', 'stopped') AND attempt = $3 AND model IS NULL
        )
        """,
        chatroom_id,
        reply_id,
        attempt,
        model,
    )


async def end_reply(conn: Connection, end: ReplyEnd, *, now: datetime) -> datetime | None:
    """Store how an open reply ended; return when it was asked for, None if it had ended before."""
    asked_at: datetime | None = await conn.fetchval(
        """
        UPDATE message SET status = $3, attempt = $4, content = $5, ended_at = $9,
            model = coalesce($6, CASE attempt WHEN $4 THEN model END),
            finish_reason = $7, problem = $8::jsonb
        WHERE chatroom_id = $1 AND id = $2 AND status IN ('queued', 'running')
        RETURNING created_at
        """,
        end.chatroom_id,
        end.reply_id,
        end.status,
        end.attempt,
        end.content,
        end.model,
        end.finish_reason,
        json.dumps(end.problem) if end.problem else None,
        now,
    )
    return asked_at


async def close_reply(conn: Connection, *, chatroom_id: UUID, reply_id: UUID) -> None:
    """Let the room's next reply have its turn."""
    await conn.execute(
        "UPDATE chatroom SET open_reply_id = NULL WHERE id = $1 AND open_reply_id = $2",
        chatroom_id,
        reply_id,
    )


async def announce_next_reply(
    conn: Connection,
    *,
    chatroom_id: UUID,
    event_ids: list[UUID],
    now: datetime,
    traceparent: str | None,
) -> bool:
    """Put `MessagePosted` of the room's oldest queued reply into the outbox; false if none."""
    announced: bool = await conn.fetchval(
        "SELECT announce_next_reply($1, $2, $3, $4)", chatroom_id, event_ids, now, traceparent
    )
    return announced


async def list_overdue_replies(
    conn: Connection, *, announced_before: datetime, limit: int
) -> list[ReplyEnd]:
    """Return open replies announced before that instant, as timed out."""
    rows = await conn.fetch(
        """
        SELECT id AS reply_id, chatroom_id, user_id, 'failed' AS status, attempt
        FROM message
        WHERE status IN ('queued', 'running') AND announced_at < $1
        LIMIT $2
        """,
        announced_before,
        limit,
    )
    return [ReplyEnd(**row) for row in rows]

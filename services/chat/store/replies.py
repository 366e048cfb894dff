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


async def end_reply(
    conn: Connection,
    end: ReplyEnd,
    *,
    event_id: UUID | None,
    event_ids: list[UUID],
    now: datetime,
    traceparent: str | None,
) -> bool:
    """Store how an open reply ended, and announce the room's next one.

    Nothing happens if `event_id` was acted on before, the room is gone or the reply has ended.

    Returns:
        Whether something was put into the outbox.
    """
    announced: bool = await conn.fetchval(
        "SELECT end_reply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        event_id,
        end.chatroom_id,
        end.reply_id,
        end.user_id,
        end.status,
        end.attempt,
        end.content,
        end.model,
        end.finish_reason,
        json.dumps(end.problem) if end.problem else None,
        end.tokens,
        event_ids,
        now,
        traceparent,
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

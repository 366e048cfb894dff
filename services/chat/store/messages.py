"""Messages: what users wrote, and what they read."""

import json
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Draft, Message, Posted, Terms
from services.chat.store.quotas import limits_of


async def post_message(
    conn: Connection,
    draft: Draft,
    *,
    message_id: UUID,
    reply_id: UUID,
    event_ids: list[UUID],
    now: datetime,
    terms: Terms,
    traceparent: str | None,
) -> Posted:
    """Store a post, its pending reply, what it takes of the quota and its events, all or nothing.

    Locks the room and the user's quota until the statement's end.
    """
    row = await conn.fetchrow(
        """
        SELECT outcome, message_id, reply_id, parent_id, created_at, last_id, plan, tokens, limits,
            used
        FROM post_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """,
        draft.user_id,
        draft.chatroom_id,
        message_id,
        reply_id,
        event_ids,
        draft.content,
        draft.edits,
        draft.client_message_id,
        draft.model,
        draft.idempotency_key,
        now,
        limits_of(terms.unbilled),
        terms.unbilled.models,
        terms.prompt_tokens,
        terms.output_tokens,
        traceparent,
    )
    fields = dict(row)  # type: ignore[arg-type] # a function with OUT parameters gives one row
    return Posted(**fields, content=draft.content, client_message_id=draft.client_message_id)


async def list_messages_before(
    conn: Connection, *, chatroom_id: UUID, before: UUID, limit: int
) -> list[Message]:
    """Return the shown branch's messages before that id, newest first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, parent_id, content, problem, model,
            finish_reason, client_message_id, thumb, feedback_reason, created_at, ended_at,
            sibling_ids
        FROM message_detail
        WHERE chatroom_id = $1 AND on_path AND id < $2
        ORDER BY id DESC
        LIMIT $3
        """,
        chatroom_id,
        before,
        limit,
    )
    return [_message(row) for row in rows]


async def list_messages_after(
    conn: Connection, *, chatroom_id: UUID, after: UUID, limit: int
) -> list[Message]:
    """Return the shown branch's messages after that id, oldest first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, parent_id, content, problem, model,
            finish_reason, client_message_id, thumb, feedback_reason, created_at, ended_at,
            sibling_ids
        FROM message_detail
        WHERE chatroom_id = $1 AND on_path AND id > $2
        ORDER BY id
        LIMIT $3
        """,
        chatroom_id,
        after,
        limit,
    )
    return [_message(row) for row in rows]


async def find_message(
    conn: Connection, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> Message | None:
    """Return the message, of whatever branch, if it is in that room of that user."""
    row = await conn.fetchrow(
        """
        SELECT id, chatroom_id, role, status, reply_to, parent_id, content, problem, model,
            finish_reason, client_message_id, thumb, feedback_reason, created_at, ended_at,
            sibling_ids
        FROM message_detail
        WHERE chatroom_id = $1 AND id = $2 AND user_id = $3
        """,
        chatroom_id,
        message_id,
        user_id,
    )
    return _message(row) if row else None


async def list_open_replies(conn: Connection, *, chatroom_id: UUID) -> list[Message]:
    """Return the room's replies that have not ended, oldest first."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, parent_id, content, problem, model,
            finish_reason, client_message_id, thumb, feedback_reason, created_at, ended_at,
            sibling_ids
        FROM message_detail
        WHERE chatroom_id = $1 AND status IN ('queued', 'running')
        ORDER BY id
        """,
        chatroom_id,
    )
    return [_message(row) for row in rows]


async def list_replies_to(
    conn: Connection, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> list[Message]:
    """Return that reply, or every reply to that message, oldest first."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, parent_id, content, problem, model,
            finish_reason, client_message_id, thumb, feedback_reason, created_at, ended_at,
            sibling_ids
        FROM message_detail
        WHERE chatroom_id = $1 AND user_id = $3 AND role = 'assistant'
            AND (id = $2 OR parent_id = $2)
        ORDER BY id
        """,
        chatroom_id,
        message_id,
        user_id,
    )
    return [_message(row) for row in rows]


def _message(row: object) -> Message:
    fields = dict(row)  # type: ignore[call-overload]
    if fields["problem"] is not None:
        fields["problem"] = json.loads(fields["problem"])
    return Message(**fields)

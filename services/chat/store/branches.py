"""Branches: other replies to a message, and which branch is shown."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Outcome, Posted, Terms
from services.chat.store.quotas import limits_of


async def regenerate_reply(
    conn: Connection,
    *,
    user_id: UUID,
    chatroom_id: UUID,
    message_id: UUID,
    reply_id: UUID,
    event_ids: list[UUID],
    model: str | None,
    idempotency_key: str | None,
    now: datetime,
    terms: Terms,
    traceparent: str | None,
) -> Posted:
    """Store another pending reply, what it takes of the quota and its events, all or nothing.

    Locks the room and the user's quota until the statement's end.
    """
    row = await conn.fetchrow(
        """
        SELECT outcome, message_id, reply_id, parent_id, created_at, last_id, plan, tokens, limits,
            used, content, client_message_id
        FROM regenerate_reply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        """,
        user_id,
        chatroom_id,
        message_id,
        reply_id,
        event_ids,
        model,
        idempotency_key,
        now,
        limits_of(terms.unbilled),
        terms.unbilled.models,
        terms.prompt_tokens,
        terms.output_tokens,
        traceparent,
    )
    return Posted(**row)  # type: ignore[arg-type] # a function with OUT parameters gives one row


async def switch_path(
    conn: Connection, *, user_id: UUID, chatroom_id: UUID, message_id: UUID
) -> Outcome | None:
    """Show the branch that the message is on; return why not, None if it is shown."""
    outcome: Outcome | None = await conn.fetchval(
        "SELECT nullif(switch_path($1, $2, $3), 'switched')", user_id, chatroom_id, message_id
    )
    return outcome

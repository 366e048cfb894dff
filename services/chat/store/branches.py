"""Branches: other replies to a message, and which branch is shown."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Entitlements
from services.chat.models import Outcome, Posted


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
    unbilled: Entitlements,
    traceparent: str | None,
) -> Posted:
    """Store another pending reply, its unit of quota and its events, all or nothing.

    Locks the room and the user's quota until the statement's end. `unbilled` is what counts where
    billing never spoke of the user.
    """
    row = await conn.fetchrow(
        """
        SELECT outcome, message_id, reply_id, parent_id, created_at, allowance, used, last_id,
            content, client_message_id, announced
        FROM regenerate_reply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        user_id,
        chatroom_id,
        message_id,
        reply_id,
        event_ids,
        model,
        idempotency_key,
        now,
        unbilled.messages_per_day,
        unbilled.models,
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

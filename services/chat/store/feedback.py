"""What users think of replies."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


async def set_feedback(
    conn: Connection,
    *,
    chatroom_id: UUID,
    message_id: UUID,
    user_id: UUID,
    thumb: str | None,
    reason: str | None,
) -> datetime | None:
    """Store the opinion of a reply, or None for none; return when it was asked for, if it is."""
    created_at: datetime | None = await conn.fetchval(
        """
        UPDATE message SET thumb = $4, feedback_reason = $5
        WHERE chatroom_id = $1 AND id = $2 AND user_id = $3 AND role = 'assistant'
        RETURNING created_at
        """,
        chatroom_id,
        message_id,
        user_id,
        thumb,
        reason,
    )
    return created_at

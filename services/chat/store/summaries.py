"""Summaries: what older turns said, in fewer words."""

from uuid import UUID

from libs.common.db import Connection


async def keep_summary(
    conn: Connection, *, chatroom_id: UUID, user_id: UUID, summary: str, until: UUID
) -> bool:
    """Keep the summary unless a newer one is known or its branch is not shown; tell whether."""
    kept = await conn.fetchval(
        """
        UPDATE chatroom SET summary = $3, summary_until = $4
        WHERE id = $1 AND user_id = $2 AND (summary_until IS NULL OR summary_until < $4)
            AND EXISTS (SELECT FROM message WHERE chatroom_id = $1 AND id = $4 AND on_path)
        RETURNING true
        """,
        chatroom_id,
        user_id,
        summary,
        until,
    )
    return kept is not None

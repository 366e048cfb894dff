"""Hidden rooms, made for one OpenAI completion each."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


async def delete_hidden_room(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> None:
    """Delete the user's hidden room with its messages."""
    await conn.execute(
        "DELETE FROM chatroom WHERE id = $1 AND user_id = $2 AND hidden", chatroom_id, user_id
    )


async def delete_hidden_rooms(conn: Connection, *, created_before: datetime, limit: int) -> int:
    """Delete hidden rooms that old, at most `limit`; return how many. Several may do so at once."""
    deleted: int = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM chatroom WHERE id IN (
                SELECT id FROM chatroom
                WHERE hidden AND created_at < $1
                ORDER BY created_at
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
            RETURNING id
        )
        SELECT count(*) FROM gone
        """,
        created_before,
        limit,
    )
    return deleted

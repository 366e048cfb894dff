"""SQL of a user's end."""

from uuid import UUID

from libs.common.db import Connection


async def list_rooms(conn: Connection, user_id: UUID, *, limit: int) -> list[UUID]:
    """Return up to `limit` rooms of the user, hidden ones too."""
    rows = await conn.fetch(
        """
        (SELECT id FROM chatroom WHERE user_id = $1 AND NOT hidden LIMIT $2)
        UNION ALL -- two indexes, of which neither has all
        (SELECT id FROM chatroom WHERE hidden AND user_id = $1 LIMIT $2)
        """,
        user_id,
        limit,
    )
    return [row["id"] for row in rows]


async def delete_messages(conn: Connection, chatroom_id: UUID, *, limit: int) -> int:
    """Delete up to `limit` messages of the room, and return how many."""
    deleted = await conn.fetch(
        """
        DELETE FROM message WHERE chatroom_id = $1 AND id IN (
            SELECT id FROM message WHERE chatroom_id = $1 ORDER BY id LIMIT $2
        )
        RETURNING id
        """,
        chatroom_id,
        limit,
    )
    return len(deleted)


async def delete_allowances(conn: Connection, user_id: UUID) -> None:
    """Delete what the user may send, and what they sent."""
    await conn.execute(
        """
        WITH used AS (DELETE FROM quota WHERE user_id = $1)
        DELETE FROM entitlement WHERE user_id = $1
        """,
        user_id,
    )

"""SQL of what a user may take along, besides what is in the rooms."""

from typing import Any
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Chatroom
from services.chat.store.chatrooms import chatroom_of


async def list_room_ids(conn: Connection, user_id: UUID) -> list[UUID]:
    """Return every room of the user, hidden ones too, oldest first."""
    rows = await conn.fetch(
        """
        SELECT id FROM chatroom WHERE user_id = $1 AND NOT hidden
        UNION ALL -- two indexes, of which neither has all
        SELECT id FROM chatroom WHERE hidden AND user_id = $1
        ORDER BY id
        """,
        user_id,
    )
    return [row["id"] for row in rows]


async def find_room(conn: Connection, chatroom_id: UUID, *, user_id: UUID) -> Chatroom | None:
    """Return the user's room, also a hidden one."""
    row = await conn.fetchrow(
        """
        SELECT id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        FROM chatroom WHERE id = $1 AND user_id = $2
        """,
        chatroom_id,
        user_id,
    )
    return chatroom_of(row) if row else None


async def find_allowances(conn: Connection, user_id: UUID) -> dict[str, Any]:
    """Return what the user may send, and what they sent on the last day they did."""
    row = await conn.fetchrow(
        """
        SELECT e.plan, e.models, e.messages_per_day, e.messages_per_month, e.tokens_per_day,
            e.tokens_per_month, e.concurrent_replies, q.day, q.used, q.month_used, q.tokens,
            q.month_tokens
        FROM (SELECT $1::uuid AS user_id) u
        LEFT JOIN entitlement e USING (user_id) LEFT JOIN quota q USING (user_id)
        """,
        user_id,
    )
    return dict(row) if row else {}

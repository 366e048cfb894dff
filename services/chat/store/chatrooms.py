"""Rooms."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Chatroom


async def insert_chatroom(
    conn: Connection, room: Chatroom, *, user_id: UUID, idempotency_key: str | None
) -> Chatroom | None:
    """Store a new room; None if the user's key made one before."""
    row = await conn.fetchrow(
        """
        INSERT INTO chatroom (id, user_id, title, idempotency_key, created_at, active_at)
        VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id, title, created_at, active_at
        """,
        room.id,
        user_id,
        room.title,
        idempotency_key,
        room.created_at,
    )
    return Chatroom(**row) if row else None


async def find_chatroom_by_key(
    conn: Connection, *, user_id: UUID, idempotency_key: str
) -> Chatroom:
    """Return the room that the user's key made; it exists."""
    row = await conn.fetchrow(
        """
        SELECT id, title, created_at, active_at FROM chatroom
        WHERE user_id = $1 AND idempotency_key = $2
        """,
        user_id,
        idempotency_key,
    )
    return Chatroom(**row)  # type: ignore[arg-type] # it exists


async def list_chatrooms(
    conn: Connection, *, user_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Chatroom]:
    """Return the user's rooms, the most recently active first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, title, created_at, active_at FROM chatroom
        WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (active_at, id) < ($2, $3::uuid))
        ORDER BY active_at DESC, id DESC
        LIMIT $4
        """,
        user_id,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [Chatroom(**row) for row in rows]


async def owns_chatroom(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> bool:
    """Tell whether the room exists and is the user's."""
    owned: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM chatroom WHERE id = $1 AND user_id = $2)", chatroom_id, user_id
    )
    return owned


async def lock_chatroom(conn: Connection, chatroom_id: UUID) -> bool:
    """Lock the room until commit, as a post does; false if it is gone."""
    found = await conn.fetchval("SELECT true FROM chatroom WHERE id = $1 FOR UPDATE", chatroom_id)
    return found is not None

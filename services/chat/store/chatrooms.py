"""Rooms."""

import json
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Chatroom, ChatroomChange


async def insert_chatroom(
    conn: Connection,
    room: Chatroom,
    *,
    user_id: UUID,
    title_source: Literal["default", "user"],
    idempotency_key: str | None = None,
    hidden: bool = False,
) -> Chatroom | None:
    """Store a new room; None if the user's key made one before, or the user was deleted."""
    row = await conn.fetchrow(
        """
        INSERT INTO chatroom
            (id, user_id, title, title_source, idempotency_key, created_at, active_at, pinned,
             archived_at, metadata, hidden)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $9 THEN $7::timestamptz END,
            $10::jsonb, $11
        WHERE NOT is_deleted_user($2)
        ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        """,
        room.id,
        user_id,
        room.title,
        title_source,
        idempotency_key,
        room.created_at,
        room.active_at,
        room.pinned,
        room.archived,
        json.dumps(room.metadata),
        hidden,
    )
    return chatroom_of(row) if row else None


async def find_chatroom_by_key(
    conn: Connection, *, user_id: UUID, idempotency_key: str
) -> Chatroom | None:
    """Return the room that the user's key made, if it is still there."""
    row = await conn.fetchrow(
        """
        SELECT id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        FROM chatroom
        WHERE user_id = $1 AND idempotency_key = $2
        """,
        user_id,
        idempotency_key,
    )
    return chatroom_of(row) if row else None


async def list_chatrooms(
    conn: Connection,
    *,
    user_id: UUID,
    archived: bool,
    pinned: bool | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Chatroom]:
    """Return the user's rooms, the most recently active first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        FROM chatroom
        WHERE user_id = $1 AND NOT hidden AND (archived_at IS NOT NULL) = $5
            AND ($6::boolean IS NULL OR pinned = $6)
            AND ($2::timestamptz IS NULL OR (active_at, id) < ($2, $3::uuid))
        ORDER BY active_at DESC, id DESC
        LIMIT $4
        """,
        user_id,
        before[0] if before else None,
        before[1] if before else None,
        limit,
        archived,
        pinned,
    )
    return [chatroom_of(row) for row in rows]


async def find_chatroom(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> Chatroom | None:
    """Return the room if it is the user's and shown to users at all."""
    row = await conn.fetchrow(
        """
        SELECT id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        FROM chatroom
        WHERE id = $1 AND user_id = $2 AND NOT hidden
        """,
        chatroom_id,
        user_id,
    )
    return chatroom_of(row) if row else None


async def lock_version(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> int | None:
    """Lock the user's room until commit and return its version; None if there is none."""
    version: int | None = await conn.fetchval(
        """
        SELECT version FROM chatroom
        WHERE id = $1 AND user_id = $2 AND NOT hidden
        FOR UPDATE
        """,
        chatroom_id,
        user_id,
    )
    return version


async def update_chatroom(
    conn: Connection, change: ChatroomChange, *, chatroom_id: UUID, now: datetime
) -> Chatroom:
    """Change a room that the caller has locked; a new title is the user's own."""
    row = await conn.fetchrow(
        """
        UPDATE chatroom SET
            title = coalesce($2, title),
            title_source = CASE WHEN $2::text IS NULL THEN title_source ELSE 'user' END,
            pinned = coalesce($3, pinned),
            archived_at = CASE
                WHEN $4::boolean IS NULL THEN archived_at
                WHEN $4 THEN coalesce(archived_at, $6)
            END,
            metadata = coalesce($5::jsonb, metadata),
            version = version + 1
        WHERE id = $1
        RETURNING id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        """,
        chatroom_id,
        change.title,
        change.pinned,
        change.archived,
        None if change.metadata is None else json.dumps(change.metadata),
        now,
    )
    return chatroom_of(row)


async def set_default_title(
    conn: Connection, *, chatroom_id: UUID, user_id: UUID, title: str
) -> Chatroom | None:
    """Give the model's title to a room that has none of its own; None if it has, or is gone."""
    row = await conn.fetchrow(
        """
        UPDATE chatroom SET title = $3, title_source = 'model', version = version + 1
        WHERE id = $1 AND user_id = $2 AND title_source = 'default' AND NOT hidden
        RETURNING id, title, created_at, active_at, pinned, archived_at IS NOT NULL AS archived,
            metadata, version
        """,
        chatroom_id,
        user_id,
        title,
    )
    return chatroom_of(row) if row else None


async def list_open_reply_ids(conn: Connection, chatroom_id: UUID) -> list[UUID]:
    """Return the replies of the room that have not ended."""
    rows = await conn.fetch(
        """
        SELECT id FROM message
        WHERE chatroom_id = $1 AND status IN ('queued', 'running')
        ORDER BY id
        """,
        chatroom_id,
    )
    return [row["id"] for row in rows]


async def delete_chatroom(conn: Connection, chatroom_id: UUID) -> None:
    """Delete the room with all its messages."""
    await conn.execute("DELETE FROM chatroom WHERE id = $1", chatroom_id)


async def owns_chatroom(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> bool:
    """Tell whether the room exists and is the user's."""
    owned: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM chatroom WHERE id = $1 AND user_id = $2)", chatroom_id, user_id
    )
    return owned


def chatroom_of(row: object) -> Chatroom:
    """Return the room that a row tells of."""
    fields = dict(row)  # type: ignore[call-overload]
    return Chatroom(**{**fields, "metadata": json.loads(fields["metadata"])})

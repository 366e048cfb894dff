"""Whole rooms: what export reads and import writes."""

import json
from collections.abc import Iterable
from uuid import UUID

from libs.common.db import Connection
from services.chat.models import Node


async def find_ends(conn: Connection, chatroom_id: UUID) -> tuple[UUID | None, UUID | None]:
    """Return the last message of the shown branch, and the last of all; None in an empty room."""
    row = await conn.fetchrow(
        "SELECT leaf_id, last_message_id FROM chatroom WHERE id = $1", chatroom_id
    )
    return (row["leaf_id"], row["last_message_id"]) if row else (None, None)


async def set_ends(
    conn: Connection, *, chatroom_id: UUID, leaf_id: UUID | None, last_message_id: UUID | None
) -> None:
    """Let the next message follow `leaf_id`, with an id behind `last_message_id`."""
    await conn.execute(
        "UPDATE chatroom SET leaf_id = $2, last_message_id = $3 WHERE id = $1",
        chatroom_id,
        leaf_id,
        last_message_id,
    )


async def list_nodes(
    conn: Connection,
    *,
    chatroom_id: UUID,
    after: UUID | None,
    until: UUID,
    shown_only: bool,
    limit: int,
) -> list[Node]:
    """Return messages of every branch, or of the shown one, from `after` (not in) to `until`."""
    rows = await conn.fetch(
        """
        SELECT id, parent_id, role, status, content, created_at, ended_at, problem, model,
            finish_reason, thumb, feedback_reason, on_path
        FROM message
        WHERE chatroom_id = $1 AND ($2::uuid IS NULL OR id > $2) AND id <= $3
            AND (on_path OR NOT $4)
        ORDER BY id
        LIMIT $5
        """,
        chatroom_id,
        after,
        until,
        shown_only,
        limit,
    )
    return [_node(row) for row in rows]


async def insert_nodes(
    conn: Connection, nodes: Iterable[Node], *, chatroom_id: UUID, user_id: UUID
) -> None:
    """Store messages that have ended, as they are."""
    await conn.executemany(
        """
        INSERT INTO message
            (chatroom_id, user_id, id, parent_id, reply_to, role, status, content, created_at,
             ended_at, problem, model, finish_reason, thumb, feedback_reason, on_path)
        VALUES ($1, $2, $3, $4, CASE WHEN $5::text = 'assistant' THEN $4::uuid END, $5::text,
            $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15)
        """,
        [
            (
                chatroom_id,
                user_id,
                node.id,
                node.parent_id,
                node.role,
                node.status,
                node.content,
                node.created_at,
                node.ended_at,
                json.dumps(node.problem) if node.problem else None,
                node.model,
                node.finish_reason,
                node.thumb,
                node.feedback_reason,
                node.on_path,
            )
            for node in nodes
        ],
    )


def _node(row: object) -> Node:
    fields = dict(row)  # type: ignore[call-overload]
    if fields["problem"] is not None:
        fields["problem"] = json.loads(fields["problem"])
    return Node(**fields)

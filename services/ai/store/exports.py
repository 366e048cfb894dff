"""SQL of what a user may take along."""

from typing import Any
from uuid import UUID

from libs.common.db import Connection


async def list_charges(
    conn: Connection, user_id: UUID, *, after: dict[str, Any] | None, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` of the user's charges, oldest first, from `after` (not in) on."""
    rows = await conn.fetch(
        """
        SELECT kind, subject_id, chatroom_id, model, prompt_tokens, cached_tokens, output_tokens,
            thoughts_tokens, tools_tokens, total_tokens, price_version, cost_micros, estimated,
            ended_at
        FROM usage_ledger
        WHERE user_id = $1 AND ($2::timestamptz IS NULL
            OR (ended_at, kind, subject_id) > ($2, $3::text, $4::uuid))
        ORDER BY ended_at, kind, subject_id
        LIMIT $5
        """,
        user_id,
        after["ended_at"] if after else None,
        after["kind"] if after else None,
        after["subject_id"] if after else None,
        limit,
    )
    return [dict(row) for row in rows]

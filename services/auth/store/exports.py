"""SQL of what a user may take along."""

from typing import Any
from uuid import UUID

from libs.common.db import Connection


async def list_sessions(conn: Connection, user_id: UUID) -> list[dict[str, Any]]:
    """Return the user's logins, ended ones too while they are kept, the newest first."""
    rows = await conn.fetch(
        """
        SELECT id, created_at, rotated_at AS last_used_at, expires_at, revoked_at
        FROM session WHERE user_id = $1 ORDER BY id DESC
        """,
        user_id,
    )
    return [dict(row) for row in rows]

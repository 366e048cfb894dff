"""SQL of guests."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


async def insert_guest(conn: Connection, user_id: UUID, now: datetime) -> None:
    """Store an account that nobody knows anything of."""
    await conn.execute(
        "INSERT INTO account (id, created_at, guest) VALUES ($1, $2, true)", user_id, now
    )


async def list_idle_guests(conn: Connection, *, before: datetime, limit: int) -> list[UUID]:
    """Return up to `limit` guests who came before then, and were not here since."""
    rows = await conn.fetch(
        """
        SELECT id FROM account
        WHERE guest AND created_at < $1 AND NOT EXISTS (
            SELECT FROM session
            WHERE user_id = account.id AND rotated_at >= $1 AND revoked_at IS NULL
        )
        ORDER BY created_at LIMIT $2
        """,
        before,
        limit,
    )
    return [row["id"] for row in rows]


async def lock_idle_guest(conn: Connection, user_id: UUID, *, before: datetime) -> bool:
    """Tell whether that is still a guest who was not here since; locked until commit if so.

    Their sessions are locked, too: who refreshes one at this moment comes before us or not at all.
    """
    await conn.execute("SELECT FROM session WHERE user_id = $1 FOR UPDATE", user_id)
    idle = await conn.fetchval(
        """
        SELECT true FROM account
        WHERE id = $1 AND guest AND NOT EXISTS (
            SELECT FROM session
            WHERE user_id = account.id AND rotated_at >= $2 AND revoked_at IS NULL
        )
        FOR UPDATE OF account
        """,
        user_id,
        before,
    )
    return idle is not None

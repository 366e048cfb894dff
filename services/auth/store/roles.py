"""SQL of what people may do."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import Role


async def lock_admins(conn: Connection) -> frozenset[UUID]:
    """Return the admins who are not banned, locked until commit: none stops being one meanwhile.

    Before any other account is locked, so that nobody waits in a circle.
    """
    rows = await conn.fetch(
        """
        SELECT id FROM account WHERE role = 'admin' AND banned_at IS NULL
        ORDER BY id FOR UPDATE
        """
    )
    return frozenset(row["id"] for row in rows)


async def find_role(
    conn: Connection, *, user_id: UUID, session_id: UUID, now: datetime
) -> Role | None:
    """Return what the user may do in that session; None if it has ended, or they are banned."""
    role: Role | None = await conn.fetchval(
        """
        SELECT CASE WHEN session.has_factor THEN account.role ELSE 'user' END
        FROM session JOIN account ON account.id = session.user_id
        WHERE session.id = $2 AND account.id = $1 AND session.revoked_at IS NULL
          AND session.expires_at > $3 AND account.banned_at IS NULL
        """,
        user_id,
        session_id,
        now,
    )
    return role


async def update_role(conn: Connection, user_id: UUID, role: Role) -> None:
    """Give the user another role."""
    await conn.execute("UPDATE account SET role = $2 WHERE id = $1", user_id, role)

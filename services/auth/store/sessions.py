"""SQL of sessions."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import Session


async def insert_session(conn: Connection, session: Session) -> None:
    """Store a new session."""
    await conn.execute(
        """
        INSERT INTO session (id, user_id, nonce, generation, rotated_at, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $5, $6)
        """,
        session.id,
        session.user_id,
        session.nonce,
        session.generation,
        session.rotated_at,
        session.expires_at,
    )


async def lock_session(conn: Connection, session_id: UUID) -> Session | None:
    """Return the session, locked until commit: those who refresh it queue up."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, nonce, generation, rotated_at, expires_at, revoked_at
        FROM session WHERE id = $1 FOR UPDATE
        """,
        session_id,
    )
    return None if row is None else Session(**row)


async def rotate_session(conn: Connection, session_id: UUID, now: datetime) -> int:
    """Start the session's next generation and return its number."""
    generation: int = await conn.fetchval(
        """
        UPDATE session SET generation = generation + 1, rotated_at = $2
        WHERE id = $1
        RETURNING generation
        """,
        session_id,
        now,
    )
    return generation


async def revoke_session(conn: Connection, session_id: UUID, now: datetime) -> None:
    """End the session."""
    await conn.execute("UPDATE session SET revoked_at = $2 WHERE id = $1", session_id, now)


async def delete_stale_sessions(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` sessions that ended before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM session WHERE id IN (
            SELECT id FROM session WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

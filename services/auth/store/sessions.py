"""SQL of sessions."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import ListedSession, Session


async def insert_session(conn: Connection, session: Session) -> None:
    """Store a new session."""
    await conn.execute(
        """
        INSERT INTO session
            (id, user_id, nonce, generation, rotated_at, created_at, expires_at, device, has_factor)
        VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8)
        """,
        session.id,
        session.user_id,
        session.nonce,
        session.generation,
        session.rotated_at,
        session.expires_at,
        session.device,
        session.has_factor,
    )


async def lock_session(conn: Connection, session_id: UUID) -> Session | None:
    """Return the session, locked until commit: those who refresh it queue up."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, nonce, generation, rotated_at, expires_at, revoked_at, device,
               has_factor
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


async def raise_session(conn: Connection, session_id: UUID) -> None:
    """Let the session count as one that passed the second factor."""
    await conn.execute("UPDATE session SET has_factor = true WHERE id = $1", session_id)


async def lower_sessions(conn: Connection, user_id: UUID) -> None:
    """Let no session of the user count as one that passed a second factor."""
    await conn.execute(
        "UPDATE session SET has_factor = false WHERE user_id = $1 AND has_factor", user_id
    )


async def touch_session(conn: Connection, session_id: UUID, now: datetime) -> None:
    """Note that the session was used, where no refresh token tells it."""
    await conn.execute("UPDATE session SET rotated_at = $2 WHERE id = $1", session_id, now)


async def is_alive(conn: Connection, session_id: UUID, now: datetime) -> bool:
    """Tell whether the session has neither expired nor been ended."""
    alive: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM session WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2
        )
        """,
        session_id,
        now,
    )
    return alive


async def list_sessions(
    conn: Connection, user_id: UUID, *, now: datetime, before: UUID | None, limit: int
) -> list[ListedSession]:
    """Return up to `limit` of the user's live sessions older than `before`, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, device, created_at, rotated_at AS last_used_at, expires_at
        FROM session
        WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
          AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        user_id,
        now,
        before,
        limit,
    )
    return [ListedSession(**row) for row in rows]


async def revoke_sessions(
    conn: Connection, user_id: UUID, *, now: datetime, only: UUID | None, but: UUID | None
) -> list[UUID]:
    """End the user's live sessions and return them: all, or `only` that one, or all `but` that."""
    rows = await conn.fetch(
        """
        UPDATE session SET revoked_at = $2
        WHERE id IN (
            SELECT id FROM session
            WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
              AND ($3::uuid IS NULL OR id = $3) AND ($4::uuid IS NULL OR id <> $4)
            ORDER BY id FOR UPDATE
        )
        RETURNING id
        """,
        user_id,
        now,
        only,
        but,
    )
    return [row["id"] for row in rows]


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

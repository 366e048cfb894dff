"""SQL of people whom another issuer knows."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import ExternalLogin


async def find_user_id(conn: Connection, subject_hash: bytes) -> UUID | None:
    """Return the subject's account."""
    user_id: UUID | None = await conn.fetchval(
        "SELECT user_id FROM external_login WHERE subject_hash = $1", subject_hash
    )
    return user_id


async def lock_external_login(conn: Connection, subject_hash: bytes) -> ExternalLogin:
    """Return what is known of the subject, locked until commit; made if there was nothing."""
    (row,) = await conn.fetch(
        """
        INSERT INTO external_login (subject_hash) VALUES ($1)
        ON CONFLICT (subject_hash) DO UPDATE SET subject_hash = EXCLUDED.subject_hash
        RETURNING user_id, session_id, refused_until
        """,
        subject_hash,
    )
    return ExternalLogin(**row)


async def insert_external_account(conn: Connection, user_id: UUID, now: datetime) -> None:
    """Store an account that the other issuer vouches for."""
    await conn.execute(
        """
        INSERT INTO account (id, created_at, verified_at, external) VALUES ($1, $2, $2, true)
        """,
        user_id,
        now,
    )


async def update_external_login(
    conn: Connection, subject_hash: bytes, *, user_id: UUID, session_id: UUID
) -> None:
    """Keep account and login of the subject; call it with the row locked."""
    await conn.execute(
        "UPDATE external_login SET user_id = $2, session_id = $3 WHERE subject_hash = $1",
        subject_hash,
        user_id,
        session_id,
    )


async def refuse_earlier(conn: Connection, user_id: UUID, *, until: datetime) -> None:
    """Let tokens issued by then open nothing; whose account it was is forgotten with that."""
    await conn.execute(
        """
        UPDATE external_login SET refused_until = $2, user_id = NULL, session_id = NULL
        WHERE user_id = $1
        """,
        user_id,
        until,
    )


async def delete_stale(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` of those whose account was deleted before then."""
    await conn.execute(
        """
        DELETE FROM external_login WHERE subject_hash IN (
            SELECT subject_hash FROM external_login WHERE user_id IS NULL AND refused_until < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

"""SQL of second factors, their recovery codes, and logins that wait for one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.access_models import Factor


async def upsert_factor(conn: Connection, factor: Factor) -> bool:
    """Store a factor that is to be confirmed in the place of one that is, too.

    Returns:
        False if the user has one that was confirmed; it stays.
    """
    stored = await conn.fetchval(
        """
        INSERT INTO factor (user_id, sealed, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE
        SET sealed = EXCLUDED.sealed, created_at = EXCLUDED.created_at
        WHERE factor.confirmed_at IS NULL
        RETURNING true
        """,
        factor.user_id,
        factor.sealed,
        factor.created_at,
    )
    return stored is not None


async def find_factor(conn: Connection, user_id: UUID) -> Factor | None:
    """Return the user's factor, confirmed or not."""
    row = await conn.fetchrow(
        """
        SELECT user_id, sealed, created_at, confirmed_at, failures, failures_since
        FROM factor WHERE user_id = $1
        """,
        user_id,
    )
    return None if row is None else Factor(**row)


async def confirm_factor(
    conn: Connection, user_id: UUID, *, step: int, now: datetime, code_hashes: Sequence[bytes]
) -> None:
    """Let the factor count from now on, with these recovery codes; the step's code is used up."""
    await conn.execute(
        """
        WITH confirmed AS (
            UPDATE factor SET confirmed_at = $3, last_step = $2 WHERE user_id = $1
        )
        INSERT INTO recovery_code (user_id, code_hash) SELECT $1, unnest($4::bytea[])
        """,
        user_id,
        step,
        now,
        code_hashes,
    )


async def delete_factor(conn: Connection, user_id: UUID) -> None:
    """Delete the user's factor with its recovery codes and the logins that wait for it."""
    await conn.execute("DELETE FROM factor WHERE user_id = $1", user_id)


async def use_step(conn: Connection, user_id: UUID, step: int) -> bool:
    """Use up the code of a time step, and those before it; forget failures.

    Returns:
        False if it was used up before.
    """
    used = await conn.fetchval(
        """
        UPDATE factor SET last_step = $2, failures = 0, failures_since = NULL
        WHERE user_id = $1 AND last_step < $2
        RETURNING true
        """,
        user_id,
        step,
    )
    return used is not None


async def use_recovery_code(conn: Connection, user_id: UUID, code_hash: bytes) -> bool:
    """Use up a recovery code and forget failures; False if it is none, or was used before."""
    used = await conn.fetchval(
        """
        WITH used AS (
            DELETE FROM recovery_code WHERE user_id = $1 AND code_hash = $2 RETURNING user_id
        )
        UPDATE factor SET failures = 0, failures_since = NULL
        FROM used WHERE factor.user_id = used.user_id
        RETURNING true
        """,
        user_id,
        code_hash,
    )
    return used is not None


async def count_recovery_codes(conn: Connection, user_id: UUID) -> int:
    """Return how many the user has left."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM recovery_code WHERE user_id = $1", user_id
    )
    return count


async def count_failure(conn: Connection, user_id: UUID, *, now: datetime, since: datetime) -> None:
    """Count a wrong code; the count starts over if it began at `since` or before."""
    await conn.execute(
        """
        UPDATE factor
        SET failures = CASE WHEN failures_since > $3 THEN failures + 1 ELSE 1 END,
            failures_since = CASE WHEN failures_since > $3 THEN failures_since ELSE $2 END
        WHERE user_id = $1
        """,
        user_id,
        now,
        since,
    )


async def insert_challenge(
    conn: Connection, token_hash: bytes, *, user_id: UUID, expires_at: datetime
) -> None:
    """Let a login wait for the user's second factor."""
    await conn.execute(
        "INSERT INTO factor_challenge (token_hash, user_id, expires_at) VALUES ($1, $2, $3)",
        token_hash,
        user_id,
        expires_at,
    )


async def find_challenged(conn: Connection, token_hash: bytes) -> UUID | None:
    """Return whose login waits; None if none does."""
    user_id: UUID | None = await conn.fetchval(
        "SELECT user_id FROM factor_challenge WHERE token_hash = $1", token_hash
    )
    return user_id


async def count_attempt(
    conn: Connection, token_hash: bytes, *, now: datetime, limit: int
) -> int | None:
    """Count a try at a challenge and return its number; None if it is over or none is left."""
    attempts: int | None = await conn.fetchval(
        """
        UPDATE factor_challenge SET attempts = attempts + 1
        WHERE token_hash = $1 AND expires_at > $2 AND attempts < $3
        RETURNING attempts
        """,
        token_hash,
        now,
        limit,
    )
    return attempts


async def delete_challenge(conn: Connection, token_hash: bytes) -> None:
    """Let nobody log in by this challenge again."""
    await conn.execute("DELETE FROM factor_challenge WHERE token_hash = $1", token_hash)


async def delete_stale_challenges(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` challenges that expired before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM factor_challenge WHERE token_hash IN (
            SELECT token_hash FROM factor_challenge WHERE expires_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

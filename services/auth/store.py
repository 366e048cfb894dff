"""Auth's SQL: one function, one statement."""

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from libs.common.events import Plan
from services.auth.models import Guess, Identifier, OneTimeCode, SealedKey, Session, User


async def insert_account(
    conn: Connection, identifier: Identifier, *, user_id: UUID, name: str | None, now: datetime
) -> bool:
    """Store an account; false if the identifier has one."""
    inserted = await conn.fetchval(
        """
        INSERT INTO account (id, phone, email, name, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        user_id,
        identifier.phone,
        identifier.email,
        name,
        now,
    )
    return inserted is not None


async def verify_account(conn: Connection, identifier: Identifier, now: datetime) -> UUID | None:
    """Mark the identifier's account as verified and return its id, None if there is none."""
    user_id: UUID | None = await conn.fetchval(
        """
        UPDATE account SET verified_at = coalesce(verified_at, $3)
        WHERE phone = $1 OR email = $2
        RETURNING id
        """,
        identifier.phone,
        identifier.email,
        now,
    )
    return user_id


async def find_user(conn: Connection, user_id: UUID) -> User | None:
    """Return the user, on `basic` as long as billing has not spoken of them."""
    row = await conn.fetchrow(
        """
        SELECT account.id, phone, email, name, coalesce(plan.plan, 'basic') AS plan, created_at,
               verified_at IS NOT NULL AS verified
        FROM account LEFT JOIN plan ON plan.user_id = account.id
        WHERE account.id = $1
        """,
        user_id,
    )
    return None if row is None else User(**row)


async def upsert_plan(conn: Connection, *, user_id: UUID, version: int, plan: Plan) -> None:
    """Keep the plan unless a newer version of it is stored."""
    await conn.execute(
        """
        INSERT INTO plan (user_id, version, plan) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan
        WHERE plan.version < EXCLUDED.version
        """,
        user_id,
        version,
        plan,
    )


async def lock_code(conn: Connection, identifier_hash: bytes, fresh: OneTimeCode) -> OneTimeCode:
    """Return the identifier's latest code, `fresh` if there was none; locked until commit."""
    (row,) = await conn.fetch(
        """
        INSERT INTO one_time_code (identifier_hash, id, nonce, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (identifier_hash) DO UPDATE SET id = one_time_code.id
        RETURNING id, nonce, expires_at, attempts, used_at, sent_at
        """,
        identifier_hash,
        fresh.id,
        fresh.nonce,
        fresh.expires_at,
    )
    return _one_time_code(row)


async def update_code(conn: Connection, identifier_hash: bytes, code: OneTimeCode) -> None:
    """Replace the identifier's code; call it with the row locked."""
    await conn.execute(
        """
        UPDATE one_time_code
        SET id = $2, nonce = $3, expires_at = $4, attempts = $5, used_at = $6, sent_at = $7
        WHERE identifier_hash = $1
        """,
        identifier_hash,
        code.id,
        code.nonce,
        code.expires_at,
        code.attempts,
        code.used_at,
        code.sent_at,
    )


async def find_code(conn: Connection, identifier_hash: bytes) -> OneTimeCode | None:
    """Return the identifier's latest code, whatever became of it."""
    row = await conn.fetchrow(
        """
        SELECT id, nonce, expires_at, attempts, used_at, sent_at
        FROM one_time_code WHERE identifier_hash = $1
        """,
        identifier_hash,
    )
    return None if row is None else _one_time_code(row)


async def count_guess(
    conn: Connection, identifier_hash: bytes, *, now: datetime, limit: int
) -> Guess | None:
    """Count a guess before anybody compares it; None if no code is live or it has `limit` guesses.

    One statement, so that concurrent guesses cannot share a number.
    """
    row = await conn.fetchrow(
        """
        UPDATE one_time_code SET attempts = attempts + 1
        WHERE identifier_hash = $1 AND used_at IS NULL AND expires_at > $2 AND attempts < $3
        RETURNING id, nonce, attempts
        """,
        identifier_hash,
        now,
        limit,
    )
    return None if row is None else Guess(**row)


async def use_code(conn: Connection, code_id: UUID, now: datetime) -> bool:
    """Mark the code as used; false if it was already, or another one took its place."""
    used = await conn.fetchval(
        """
        UPDATE one_time_code SET used_at = $2 WHERE id = $1 AND used_at IS NULL RETURNING true
        """,
        code_id,
        now,
    )
    return used is not None


async def delete_stale_codes(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` codes that expired before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM one_time_code WHERE identifier_hash IN (
            SELECT identifier_hash FROM one_time_code WHERE expires_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )


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


async def lock_signing_keys(conn: Connection) -> None:
    """Make other processes that want to create the first key wait until commit."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('auth.signing_key'))")


async def list_signing_keys(conn: Connection) -> list[SealedKey]:
    """Return all signing keys, oldest first."""
    rows = await conn.fetch("SELECT kid, sealed FROM signing_key ORDER BY created_at, kid")
    return [SealedKey(**row) for row in rows]


async def insert_signing_key(conn: Connection, key: SealedKey, now: datetime) -> None:
    """Store a signing key."""
    await conn.execute(
        "INSERT INTO signing_key (kid, sealed, created_at) VALUES ($1, $2, $3)",
        key.kid,
        key.sealed,
        now,
    )


def _one_time_code(row: asyncpg.Record) -> OneTimeCode:
    return OneTimeCode(**{**row, "sent_at": tuple(row["sent_at"])})

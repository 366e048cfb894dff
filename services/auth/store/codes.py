"""SQL of one-time codes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import Guess, OneTimeCode


async def lock_code(conn: Connection, identifier_hash: bytes, fresh: OneTimeCode) -> OneTimeCode:
    """Return the identifier's latest code, `fresh` if there was none; locked until commit."""
    (row,) = await conn.fetch(
        """
        INSERT INTO one_time_code (identifier_hash, id, nonce, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (identifier_hash) DO UPDATE SET id = one_time_code.id
        RETURNING id, nonce, expires_at, attempts, used_at, sent_at, failures, failures_since
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
        SELECT id, nonce, expires_at, attempts, used_at, sent_at, failures, failures_since
        FROM one_time_code WHERE identifier_hash = $1
        """,
        identifier_hash,
    )
    return None if row is None else _one_time_code(row)


async def count_guess(
    conn: Connection,
    identifier_hash: bytes,
    *,
    now: datetime,
    limit: int,
    failures_limit: int,
    failures_since: datetime,
) -> Guess | None:
    """Count a guess before anybody compares it; None if no code is live or no guess is left.

    One statement, so that concurrent guesses cannot share a number. The guess counts as a failure
    until `use_code` clears the count, which starts over if it began at `failures_since` or before.

    Args:
        conn: where.
        identifier_hash: whose code.
        now: UTC.
        limit: guesses per code.
        failures_limit: failures of the identifier, whichever code they were made at.
        failures_since: how far back failures count.
    """
    row = await conn.fetchrow(
        """
        UPDATE one_time_code
        SET attempts = attempts + 1,
            failures = CASE WHEN failures_since > $5 THEN failures + 1 ELSE 1 END,
            failures_since = CASE WHEN failures_since > $5 THEN failures_since ELSE $2 END
        WHERE identifier_hash = $1 AND used_at IS NULL AND expires_at > $2 AND attempts < $3
          AND (failures < $4 OR failures_since <= $5)
        RETURNING id, nonce, attempts
        """,
        identifier_hash,
        now,
        limit,
        failures_limit,
        failures_since,
    )
    return None if row is None else Guess(**row)


async def use_code(conn: Connection, code_id: UUID, now: datetime) -> bool:
    """Mark the code as used and forget the failures before it.

    Returns:
        False if it was used already, has expired, or another one took its place.
    """
    used = await conn.fetchval(
        """
        UPDATE one_time_code SET used_at = $2, failures = 0, failures_since = NULL
        WHERE id = $1 AND used_at IS NULL AND expires_at > $2
        RETURNING true
        """,
        code_id,
        now,
    )
    return used is not None


async def delete_stale_codes(
    conn: Connection, *, before: datetime, failures_before: datetime, limit: int
) -> None:
    """Delete up to `limit` codes that expired before `before`; skips those that others hold.

    One whose failures still count since `failures_before` stays: the count is all that stops a
    guesser who waits for the next code.
    """
    await conn.execute(
        """
        DELETE FROM one_time_code WHERE identifier_hash IN (
            SELECT identifier_hash FROM one_time_code
            WHERE expires_at < $1 AND (failures_since IS NULL OR failures_since < $2)
            LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        failures_before,
        limit,
    )


def _one_time_code(row: Any) -> OneTimeCode:
    return OneTimeCode(**{**row, "sent_at": tuple(row["sent_at"])})

"""SQL of API keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import ApiKey


async def lock_owner(conn: Connection, user_id: UUID) -> bool:
    """Make others who want to change the user's keys wait until commit; False without a user."""
    found = await conn.fetchval("SELECT true FROM account WHERE id = $1 FOR UPDATE", user_id)
    return found is not None


async def count_api_keys(conn: Connection, user_id: UUID) -> int:
    """Return how many keys the user has, expired ones included."""
    number: int = await conn.fetchval("SELECT count(*) FROM api_key WHERE user_id = $1", user_id)
    return number


async def insert_api_key(conn: Connection, api_key: ApiKey, key_hash: bytes) -> None:
    """Store a new key."""
    await conn.execute(
        """
        INSERT INTO api_key (id, user_id, key_hash, prefix, name, scopes, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        api_key.id,
        api_key.user_id,
        key_hash,
        api_key.prefix,
        api_key.name,
        list(api_key.scopes),
        api_key.created_at,
        api_key.expires_at,
    )


async def list_api_keys(conn: Connection, user_id: UUID) -> list[ApiKey]:
    """Return the user's keys, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, replaced_by
        FROM api_key WHERE user_id = $1 ORDER BY id DESC
        """,
        user_id,
    )
    return [_api_key(row) for row in rows]


async def find_api_key(conn: Connection, user_id: UUID, key_id: UUID) -> ApiKey | None:
    """Return one of the user's keys."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, replaced_by
        FROM api_key WHERE user_id = $1 AND id = $2
        """,
        user_id,
        key_id,
    )
    return None if row is None else _api_key(row)


async def use_api_key(conn: Connection, key_hash: bytes, now: datetime) -> ApiKey | None:
    """Return the key with that hash, and note its use unless it has expired.

    To look a keyed hash up takes a time that tells nothing about keys: nobody can choose the hash.
    """
    row = await conn.fetchrow(
        """
        UPDATE api_key
        SET last_used_at = CASE WHEN expires_at <= $2 THEN last_used_at ELSE $2 END
        WHERE key_hash = $1
        RETURNING id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at,
                  replaced_by
        """,
        key_hash,
        now,
    )
    return None if row is None else _api_key(row)


async def replace_api_key(
    conn: Connection, key_id: UUID, *, replaced_by: UUID, expires_at: datetime
) -> None:
    """Let a key end at `expires_at`, or before if it was to, in favour of its successor."""
    await conn.execute(
        """
        UPDATE api_key SET replaced_by = $2, expires_at = least(expires_at, $3) WHERE id = $1
        """,
        key_id,
        replaced_by,
        expires_at,
    )


async def delete_api_keys(
    conn: Connection, user_id: UUID, *, only: UUID | None = None
) -> list[UUID]:
    """Delete the user's keys, or `only` that one, and return which there were."""
    rows = await conn.fetch(
        """
        DELETE FROM api_key WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) RETURNING id
        """,
        user_id,
        only,
    )
    return [row["id"] for row in rows]


async def delete_stale_api_keys(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` keys that expired before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM api_key WHERE id IN (
            SELECT id FROM api_key WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )


def _api_key(row: Any) -> ApiKey:
    return ApiKey(**{**row, "scopes": tuple(row["scopes"])})

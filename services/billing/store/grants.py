"""SQL of what users are granted besides their plan."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from services.billing.models import Grant


async def lock_customer(conn: Connection, user_id: UUID) -> bool:
    """Keep the user's row until commit; false if billing does not know them, or not any more."""
    return bool(
        await conn.fetchval(
            """
            SELECT true FROM customer WHERE user_id = $1 AND NOT is_deleted_user($1)
            FOR KEY SHARE
            """,
            user_id,
        )
    )


async def insert_grant(conn: Connection, grant: Grant, *, idempotency_key: str | None) -> None:
    """Store a grant; the caller holds the user's standing."""
    await conn.execute(
        """
        INSERT INTO entitlement_grant (
            id, user_id, plan, entitlements, reason, granted_by, idempotency_key, created_at,
            starts_at, expires_at
        ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        grant.id,
        grant.user_id,
        grant.plan,
        json.dumps(grant.entitlements),
        grant.reason,
        grant.granted_by,
        idempotency_key,
        grant.created_at,
        grant.starts_at,
        grant.expires_at,
    )


async def find_by_key(
    conn: Connection, user_id: UUID, *, granted_by: UUID, idempotency_key: str
) -> Grant | None:
    """Return what the admin granted to the user under that key, None if nothing."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, plan, entitlements, reason, granted_by, created_at, starts_at,
            expires_at, ended_at
        FROM entitlement_grant
        WHERE user_id = $1 AND granted_by = $2 AND idempotency_key = $3
        """,
        user_id,
        granted_by,
        idempotency_key,
    )
    return _grant(row) if row else None


async def list_grants(
    conn: Connection, user_id: UUID, *, before: UUID | None, limit: int
) -> list[Grant]:
    """Return the user's grants, also those that are over, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, plan, entitlements, reason, granted_by, created_at, starts_at,
            expires_at, ended_at
        FROM entitlement_grant WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        user_id,
        before,
        limit,
    )
    return [_grant(row) for row in rows]


async def list_open_grants(conn: Connection, user_id: UUID, *, now: datetime) -> list[Grant]:
    """Return the user's grants that are in force or will be, oldest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, plan, entitlements, reason, granted_by, created_at, starts_at,
            expires_at, ended_at
        FROM entitlement_grant
        WHERE user_id = $1 AND ended_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
        ORDER BY id
        """,
        user_id,
        now,
    )
    return [_grant(row) for row in rows]


async def end_grant(conn: Connection, grant_id: UUID, *, user_id: UUID, at: datetime) -> bool:
    """Let the grant count no longer; false if the user has none of that id."""
    ended = await conn.fetchval(
        """
        UPDATE entitlement_grant SET ended_at = coalesce(ended_at, $3)
        WHERE id = $1 AND user_id = $2 RETURNING true
        """,
        grant_id,
        user_id,
        at,
    )
    return ended is not None


async def delete_grants(conn: Connection, user_id: UUID) -> None:
    """Delete what the user was granted, and forget whom they granted something."""
    await conn.execute(
        """
        WITH forgotten AS (
            UPDATE entitlement_grant SET granted_by = NULL, idempotency_key = NULL
            WHERE granted_by = $1 AND user_id <> $1
        )
        DELETE FROM entitlement_grant WHERE user_id = $1
        """,
        user_id,
    )


async def export_grants(conn: Connection, user_id: UUID) -> list[dict[str, Any]]:
    """Return what the user was granted and why, oldest first; not by whom."""
    rows = await conn.fetch(
        """
        SELECT plan, entitlements, reason, created_at, starts_at, expires_at, ended_at
        FROM entitlement_grant WHERE user_id = $1 ORDER BY id
        """,
        user_id,
    )
    return [{**row, "entitlements": json.loads(row["entitlements"])} for row in rows]


def _grant(row: Any) -> Grant:
    return Grant(**{**row, "entitlements": json.loads(row["entitlements"])})

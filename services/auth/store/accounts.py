"""SQL of accounts and their plans."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Plan
from services.auth.models import Identifier, User


async def upsert_account(
    conn: Connection, identifier: Identifier, *, user_id: UUID, name: str | None, now: datetime
) -> None:
    """Store an account, or the name of one that is not verified: whoever wrote that is a stranger.

    It does as much work for a known identifier as for a new one, so that its time tells nothing.
    """
    await conn.execute(
        """
        WITH renamed AS (
            UPDATE account SET name = $4
            WHERE (phone = $2 OR email = $3) AND verified_at IS NULL
        )
        INSERT INTO account (id, phone, email, name, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """,
        user_id,
        identifier.phone,
        identifier.email,
        name,
        now,
    )


async def lock_account(conn: Connection, identifier: Identifier) -> User | None:
    """Return the identifier's account, locked until commit; None if there is none."""
    row = await conn.fetchrow(
        """
        SELECT account.id, phone, email, name, coalesce(plan.plan, 'basic') AS plan, created_at,
               verified_at IS NOT NULL AS verified, locale, timezone, preferences,
               account.version, role, banned_at IS NOT NULL AS banned, guest
        FROM account LEFT JOIN plan ON plan.user_id = account.id
        WHERE phone = $1 OR email = $2
        FOR UPDATE OF account
        """,
        identifier.phone,
        identifier.email,
    )
    return None if row is None else _user(row)


async def verify_account(conn: Connection, user_id: UUID, now: datetime) -> None:
    """Mark the account as verified."""
    await conn.execute("UPDATE account SET verified_at = $2 WHERE id = $1", user_id, now)


async def delete_unverified_accounts(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` accounts made before then and never verified; not guests, nor bans."""
    await conn.execute(
        """
        DELETE FROM account WHERE id IN (
            SELECT id FROM account
            WHERE verified_at IS NULL AND banned_at IS NULL AND NOT guest AND created_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )


async def find_user(conn: Connection, user_id: UUID) -> User | None:
    """Return the user, on `basic` as long as billing has not spoken of them."""
    row = await conn.fetchrow(
        """
        SELECT account.id, phone, email, name, coalesce(plan.plan, 'basic') AS plan, created_at,
               verified_at IS NOT NULL AS verified, locale, timezone, preferences,
               account.version, role, banned_at IS NOT NULL AS banned, guest
        FROM account LEFT JOIN plan ON plan.user_id = account.id
        WHERE account.id = $1
        """,
        user_id,
    )
    return None if row is None else _user(row)


async def share_account(conn: Connection, user_id: UUID) -> None:
    """Keep the account, if there is one, from being deleted until commit."""
    await conn.execute("SELECT FROM account WHERE id = $1 FOR KEY SHARE", user_id)


async def upsert_plan(conn: Connection, *, user_id: UUID, version: int, plan: Plan) -> None:
    """Keep the plan unless a newer version of it is stored, or the user was deleted."""
    await conn.execute(
        """
        INSERT INTO plan (user_id, version, plan)
        SELECT $1, $2, $3 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan
        WHERE plan.version < EXCLUDED.version
        """,
        user_id,
        version,
        plan,
    )


def _user(row: Any) -> User:
    return User(**{**row, "preferences": json.loads(row["preferences"])})

"""SQL of other people's accounts: finding and banning them."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.access_models import ListedUser
from services.auth.models import Identifier


async def list_users(
    conn: Connection,
    *,
    user_id: UUID | None,
    identifier: Identifier | None,
    before: UUID | None,
    limit: int,
) -> list[ListedUser]:
    """Return up to `limit` accounts older than `before`, newest first.

    Args:
        conn: where.
        user_id: that one alone.
        identifier: the one known by it alone.
        before: an account.
        limit: how many.
    """
    rows = await conn.fetch(
        """
        SELECT id, phone, email, name, created_at, verified_at IS NOT NULL AS verified, role,
               banned_at, ban_reason
        FROM account
        WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR phone = $2)
          AND ($3::text IS NULL OR email = $3) AND ($4::uuid IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,
        user_id,
        identifier.phone if identifier else None,
        identifier.email if identifier else None,
        before,
        limit,
    )
    return [ListedUser(**row) for row in rows]


async def is_banned(conn: Connection, user_id: UUID) -> bool:
    """Tell whether the account is banned; false where there is none."""
    banned: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM account WHERE id = $1 AND banned_at IS NOT NULL)", user_id
    )
    return banned


async def ban_account(conn: Connection, user_id: UUID, *, reason: str, now: datetime) -> None:
    """Mark the account as banned; one that is gets the new reason."""
    await conn.execute(
        """
        UPDATE account SET banned_at = coalesce(banned_at, $3), ban_reason = $2 WHERE id = $1
        """,
        user_id,
        reason,
        now,
    )


async def unban_account(conn: Connection, user_id: UUID) -> None:
    """Take the mark and its reason away."""
    await conn.execute(
        "UPDATE account SET banned_at = NULL, ban_reason = NULL WHERE id = $1", user_id
    )

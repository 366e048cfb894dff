"""SQL of what users have left; posts and ends of replies count it, see `R_quota.sql`."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Entitlements
from services.chat.models import QuotaState


def limits_of(granted: Entitlements) -> list[int | None]:
    """Return what is granted, in the order of the SQL functions."""
    return [
        granted.messages_per_day,
        granted.messages_per_month,
        granted.tokens_per_day,
        granted.tokens_per_month,
        granted.concurrent_replies,
    ]


async def quota_state(
    conn: Connection, user_id: UUID, *, now: datetime, unbilled: Entitlements
) -> QuotaState:
    """Return what the user's plan limits, and how much of each counts at `now`."""
    row = await conn.fetchrow(
        """
        SELECT e.plan, quota_used($1, $2) AS used, CASE WHEN e.user_id IS NULL THEN $3 ELSE ARRAY[
            e.messages_per_day, e.messages_per_month, e.tokens_per_day, e.tokens_per_month,
            e.concurrent_replies
        ] END AS limits
        FROM (VALUES ($1::uuid)) AS u (user_id) LEFT JOIN entitlement e USING (user_id)
        """,
        user_id,
        now,
        limits_of(unbilled),
    )
    assert row is not None  # noqa: S101 - a row of VALUES is always there
    return QuotaState(**row)

"""What users, and the installation, may still spend."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.ai.models import Period


async def lacking(
    conn: Connection, user_id: UUID, *, cost_micros: int, day_limit: int | None, now: datetime
) -> Period | None:
    """Return which budget lacks that much, None if neither does; nothing is held."""
    period: Period | None = await conn.fetchval(
        """
        SELECT CASE
            WHEN coalesce(b.settled_micros + b.reserved_micros, 0) + $2 > e.cost_micros_per_month
                THEN 'month'
            WHEN coalesce(d.settled_micros + d.reserved_micros, 0) + $2 > $3::bigint THEN 'day'
        END
        FROM (SELECT ($4::timestamptz AT TIME ZONE 'UTC')::date AS day) today
        LEFT JOIN entitlement e ON e.user_id = $1
        LEFT JOIN budget b ON b.user_id = $1 AND b.month = date_trunc('month', today.day)::date
        LEFT JOIN daily_budget d ON d.day = today.day
        """,
        user_id,
        cost_micros,
        day_limit,
        now,
    )
    return period

"""What users may do, and what they did today."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import SubscriptionChanged


async def give_back_quota(conn: Connection, *, user_id: UUID, used_at: datetime) -> None:
    """Return one unit of the UTC day of `used_at`, if that is the day still counted."""
    await conn.execute(
        """
        UPDATE quota SET used = used - 1
        WHERE user_id = $1 AND day = ($2::timestamptz AT TIME ZONE 'UTC')::date AND used > 0
        """,
        user_id,
        used_at,
    )


async def upsert_entitlement(conn: Connection, event: SubscriptionChanged) -> None:
    """Keep what the event grants, unless a newer version is known."""
    await conn.execute(
        """
        INSERT INTO entitlement AS e (user_id, version, plan, messages_per_day, models)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan,
            messages_per_day = EXCLUDED.messages_per_day, models = EXCLUDED.models
        WHERE e.version < EXCLUDED.version
        """,
        event.user_id,
        event.version,
        event.plan,
        event.entitlements.messages_per_day,
        event.entitlements.models,
    )

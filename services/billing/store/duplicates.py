"""SQL of subscriptions that users have beside another one."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.billing.timeline_models import Duplicate


async def insert_duplicate(
    conn: Connection, user_id: UUID, found: Duplicate, *, at: datetime
) -> bool:
    """Store what has to be healed; false if it was found before."""
    inserted = await conn.fetchval(
        """
        INSERT INTO duplicate_subscription
            (stripe_subscription_id, user_id, kept_id, since, found_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (stripe_subscription_id) DO UPDATE
        SET healed_at = NULL WHERE duplicate_subscription.healed_at IS NOT NULL
        RETURNING true
        """,
        found.subscription_id,
        user_id,
        found.kept_id,
        found.since,
        at,
    )
    return inserted is not None


async def unhealed_duplicates(conn: Connection, user_id: UUID) -> list[Duplicate]:
    """Return what is still to be cancelled and given back."""
    rows = await conn.fetch(
        """
        SELECT stripe_subscription_id AS subscription_id, kept_id, since
        FROM duplicate_subscription WHERE user_id = $1 AND healed_at IS NULL
        ORDER BY found_at, stripe_subscription_id
        """,
        user_id,
    )
    return [Duplicate(**row) for row in rows]


async def mark_healed(conn: Connection, subscription_id: str, *, at: datetime) -> None:
    """Store that the duplicate is cancelled and paid back."""
    await conn.execute(
        "UPDATE duplicate_subscription SET healed_at = $2 WHERE stripe_subscription_id = $1",
        subscription_id,
        at,
    )

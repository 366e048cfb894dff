"""SQL of what users have subscribed to."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Plan
from services.billing.models import KnownStanding, Standing


async def standing_of(conn: Connection, user_id: UUID) -> KnownStanding:
    """Return the user's standing, Basic if Stripe never spoke of them."""
    row = await conn.fetchrow(
        """
        SELECT plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end,
               version, as_of, messages_per_day
        FROM subscription WHERE user_id = $1
        """,
        user_id,
    )
    return _known(**row) if row else KnownStanding()


async def lock_standing(conn: Connection, user_id: UUID) -> KnownStanding:
    """Return the user's standing and lock it until commit; the user must be a customer."""
    row = await conn.fetchrow(
        """
        INSERT INTO subscription (user_id) VALUES ($1)
        ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.user_id
        RETURNING plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end,
                  version, as_of, messages_per_day
        """,
        user_id,
    )
    assert row is not None  # noqa: S101 - an upsert that returns always returns
    return _known(**row)


async def update_standing(conn: Connection, user_id: UUID, known: KnownStanding) -> None:
    """Store the user's standing; the row must exist."""
    await conn.execute(
        """
        UPDATE subscription
        SET plan = $2, status = $3, stripe_subscription_id = $4, current_period_end = $5,
            cancel_at_period_end = $6, version = $7, as_of = $8, messages_per_day = $9
        WHERE user_id = $1
        """,
        user_id,
        known.standing.plan,
        known.standing.status,
        known.standing.stripe_subscription_id,
        known.standing.current_period_end,
        known.standing.cancel_at_period_end,
        known.version,
        known.as_of,
        known.messages_per_day,
    )


async def lock_outdated_grants(
    conn: Connection, *, messages_per_day: int, limit: int
) -> list[tuple[UUID, KnownStanding]]:
    """Return users whose Basic plan was announced with another allowance; locked until commit."""
    rows = await conn.fetch(
        """
        SELECT user_id, plan, status, stripe_subscription_id, current_period_end,
               cancel_at_period_end, version, as_of, messages_per_day
        FROM subscription
        WHERE version > 0 AND plan = 'basic' AND messages_per_day IS DISTINCT FROM $1
        LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        messages_per_day,
        limit,
    )
    found = [dict(row) for row in rows]
    return [(row.pop("user_id"), _known(**row)) for row in found]


def _known(
    *,
    plan: Plan,
    status: str,
    stripe_subscription_id: str | None,
    current_period_end: datetime | None,
    cancel_at_period_end: bool,
    version: int,
    as_of: datetime | None,
    messages_per_day: int | None,
) -> KnownStanding:
    standing = Standing(
        plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end
    )
    return KnownStanding(standing, version, as_of, messages_per_day)

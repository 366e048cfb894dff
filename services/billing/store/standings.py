"""SQL of what users have subscribed to."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Entitlements, Plan
from services.billing.models import KnownStanding, Standing


async def standing_of(conn: Connection, user_id: UUID) -> KnownStanding:
    """Return the user's standing, Basic if Stripe never spoke of them."""
    row = await conn.fetchrow(
        """
        SELECT plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end,
               version, as_of, granted, grants_change_at,
               announced
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
                  version, as_of, granted, grants_change_at,
               announced
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
            cancel_at_period_end = $6, version = $7, as_of = $8, granted = $9,
            grants_change_at = $10, announced = $11
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
        known.granted.model_dump_json() if known.granted else None,
        known.grants_change_at,
        json.dumps(known.announced) if known.announced else None,
    )


async def lock_outdated(
    conn: Connection, *, plans: dict[Plan, Entitlements], now: datetime, limit: int
) -> list[tuple[UUID, KnownStanding]]:
    """Return users who were announced with something else than they have now; locked until commit.

    Their plan grants something else by now, or one of their grants has begun or ended.
    """
    rows = await conn.fetch(
        """
        SELECT user_id, plan, status, stripe_subscription_id, current_period_end,
               cancel_at_period_end, version, as_of, granted, grants_change_at,
               announced
        FROM subscription
        WHERE version > 0
            AND (granted IS DISTINCT FROM $1::jsonb -> plan OR grants_change_at <= $2)
        LIMIT $3 FOR UPDATE SKIP LOCKED
        """,
        json.dumps({plan: granted.model_dump() for plan, granted in plans.items()}),
        now,
        limit,
    )
    return [_known_of(row) for row in rows]


async def lock_due(
    conn: Connection, *, now: datetime, limit: int
) -> list[tuple[UUID, KnownStanding]]:
    """Return users of whom a grant has begun or ended; locked until commit. Costs one index."""
    rows = await conn.fetch(
        """
        SELECT user_id, plan, status, stripe_subscription_id, current_period_end,
               cancel_at_period_end, version, as_of, granted, grants_change_at,
               announced
        FROM subscription WHERE grants_change_at <= $1
        LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [_known_of(row) for row in rows]


def _known_of(row: Any) -> tuple[UUID, KnownStanding]:
    fields = dict(row)
    return fields.pop("user_id"), _known(**fields)


def _known(
    *,
    plan: Plan,
    status: str,
    stripe_subscription_id: str | None,
    current_period_end: datetime | None,
    cancel_at_period_end: bool,
    version: int,
    as_of: datetime | None,
    granted: str | None,
    grants_change_at: datetime | None,
    announced: str | None,
) -> KnownStanding:
    standing = Standing(
        plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end
    )
    told = Entitlements.model_validate_json(granted) if granted else None
    return KnownStanding(
        *(standing, version, as_of, told, grants_change_at),
        announced=json.loads(announced) if announced else None,
    )

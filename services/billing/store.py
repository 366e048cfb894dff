"""Billing's SQL: one function, one statement."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Plan
from services.billing.models import Checkout, Customer, KnownStanding, Standing, StripeEvent


async def ping(conn: Connection) -> None:
    """Raise if PostgreSQL does not answer."""
    await conn.execute("SELECT 1")


async def try_lock_user(conn: Connection, user_id: UUID) -> bool:
    """Lock the user until the connection returns to its pool; false if another holds the lock."""
    taken: bool = await conn.fetchval(
        "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"billing:{user_id}"
    )
    return taken


async def upsert_customer(
    conn: Connection, user_id: UUID, *, email: str | None, phone: str | None, name: str | None
) -> None:
    """Store how the user can be reached."""
    await conn.execute(
        """
        INSERT INTO customer (user_id, email, phone, name) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE
        SET email = EXCLUDED.email, phone = EXCLUDED.phone, name = EXCLUDED.name
        """,
        user_id,
        email,
        phone,
        name,
    )


async def ensure_customer(conn: Connection, user_id: UUID) -> Customer:
    """Return the user's row, made now if auth's announcement has not arrived yet."""
    row = await conn.fetchrow(
        """
        INSERT INTO customer (user_id) VALUES ($1)
        ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.user_id
        RETURNING user_id, stripe_customer_id, email, phone, name, attempt
        """,
        user_id,
    )
    assert row is not None  # noqa: S101 - an upsert that returns always returns
    return Customer(**row)


async def update_stripe_customer(
    conn: Connection, user_id: UUID, *, stripe_customer_id: str | None
) -> None:
    """Store or, with None, forget who the user is at Stripe."""
    await conn.execute(
        """
        UPDATE customer SET stripe_customer_id = $2, attempt = attempt + 1 WHERE user_id = $1
        """,
        user_id,
        stripe_customer_id,
    )


async def increment_attempt(conn: Connection, user_id: UUID) -> None:
    """Let the user's next call to Stripe be another one than the last."""
    await conn.execute("UPDATE customer SET attempt = attempt + 1 WHERE user_id = $1", user_id)


async def user_of_customer(conn: Connection, stripe_customer_id: str) -> UUID | None:
    """Return whose customer it is, None if it is none of ours."""
    user_id: UUID | None = await conn.fetchval(
        "SELECT user_id FROM customer WHERE stripe_customer_id = $1", stripe_customer_id
    )
    return user_id


async def checkout_of(conn: Connection, user_id: UUID) -> Checkout | None:
    """Return the session that the user was last given, expired or not."""
    row = await conn.fetchrow(
        "SELECT session_id, url, expires_at FROM checkout WHERE user_id = $1", user_id
    )
    return Checkout(**row) if row else None


async def upsert_checkout(conn: Connection, user_id: UUID, checkout: Checkout) -> None:
    """Store the user's session in place of an earlier one."""
    await conn.execute(
        """
        INSERT INTO checkout (user_id, session_id, url, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE
        SET session_id = EXCLUDED.session_id, url = EXCLUDED.url, expires_at = EXCLUDED.expires_at
        """,
        user_id,
        checkout.session_id,
        checkout.url,
        checkout.expires_at,
    )


async def delete_checkout(conn: Connection, user_id: UUID, *, unless_open_at: datetime) -> None:
    """Forget the user's session unless it expires later than `unless_open_at`."""
    await conn.execute(
        "DELETE FROM checkout WHERE user_id = $1 AND expires_at <= $2", user_id, unless_open_at
    )


async def standing_of(conn: Connection, user_id: UUID) -> KnownStanding:
    """Return the user's standing, Basic if Stripe never spoke of them."""
    row = await conn.fetchrow(
        """
        SELECT plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end,
               version, as_of
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
                  version, as_of
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
            cancel_at_period_end = $6, version = $7, as_of = $8
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
    )


async def stale_customers(conn: Connection, *, before: datetime, limit: int) -> list[str]:
    """Return customers that may have changed and were not looked at since `before`, oldest first.

    Who neither has a session to pay nor a subscription that is alive cannot change unheard.
    """
    rows = await conn.fetch(
        """
        SELECT customer.stripe_customer_id
        FROM customer
        LEFT JOIN subscription USING (user_id)
        LEFT JOIN checkout USING (user_id)
        WHERE customer.stripe_customer_id IS NOT NULL
          AND coalesce(subscription.as_of, checkout.expires_at - interval '1 day') < $1
          AND (checkout.user_id IS NOT NULL
               OR subscription.status NOT IN ('none', 'canceled', 'incomplete_expired'))
        ORDER BY subscription.as_of NULLS FIRST
        LIMIT $2
        """,
        before,
        limit,
    )
    return [row["stripe_customer_id"] for row in rows]


async def insert_event(conn: Connection, event: StripeEvent, *, at: datetime) -> bool:
    """Store the event to be applied at once; false if it came before.

    One that is about no customer is stored as applied.
    """
    inserted = await conn.fetchval(
        """
        INSERT INTO stripe_event
            (id, type, customer_id, payload, received_at, next_try_at, applied_at)
        VALUES ($1, $2, $3, $4, $5, $5, CASE WHEN $3::text IS NULL THEN $5::timestamptz END)
        ON CONFLICT (id) DO NOTHING
        RETURNING true
        """,
        event.id,
        event.type,
        event.stripe_customer_id,
        event.payload,
        at,
    )
    return inserted is not None


async def due_customers(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Return customers with events to be applied, those that have waited longest first."""
    rows = await conn.fetch(
        """
        SELECT customer_id FROM stripe_event
        WHERE applied_at IS NULL AND next_try_at <= $1
        GROUP BY customer_id
        ORDER BY min(next_try_at)
        LIMIT $2
        """,
        now,
        limit,
    )
    return [row["customer_id"] for row in rows]


async def unapplied_events(conn: Connection, stripe_customer_id: str) -> list[str]:
    """Return ids of the customer's events that are still to be applied."""
    rows = await conn.fetch(
        "SELECT id FROM stripe_event WHERE customer_id = $1 AND applied_at IS NULL",
        stripe_customer_id,
    )
    return [row["id"] for row in rows]


async def mark_applied(conn: Connection, event_ids: list[str], *, at: datetime) -> None:
    """Store that the events need no more work."""
    await conn.execute(
        "UPDATE stripe_event SET applied_at = $2, error = NULL WHERE id = ANY($1)", event_ids, at
    )


async def postpone_events(
    conn: Connection, stripe_customer_id: str, *, now: datetime, error: str
) -> None:
    """Try the customer's events again in 1 s, then 2 s, 4 s and so on up to a minute."""
    await conn.execute(
        """
        UPDATE stripe_event
        SET attempts = attempts + 1, error = $3,
            next_try_at = $2::timestamptz + interval '1 second' * least(60, 2 ^ least(attempts, 6))
        WHERE customer_id = $1 AND applied_at IS NULL
        """,
        stripe_customer_id,
        now,
        error,
    )


def _known(
    *,
    plan: Plan,
    status: str,
    stripe_subscription_id: str | None,
    current_period_end: datetime | None,
    cancel_at_period_end: bool,
    version: int,
    as_of: datetime | None,
) -> KnownStanding:
    standing = Standing(
        plan, status, stripe_subscription_id, current_period_end, cancel_at_period_end
    )
    return KnownStanding(standing, version, as_of)

"""SQL of what Stripe told us."""

from datetime import datetime, timedelta

from libs.common.db import Connection
from services.billing.models import StripeEvent
from services.billing.timeline_models import EventName, StoredEvent


async def insert_event(conn: Connection, event: StripeEvent, *, at: datetime) -> bool:
    """Store the event to be applied at once; false if it came before or is of a deleted user.

    One that names no customer, as those of disputes, is about whom the payment was from. One that
    is about nobody is stored as applied: until we have the invoice there is nothing to take back.
    """
    inserted = await conn.fetchval(
        """
        WITH about AS (
            SELECT coalesce($3, (
                SELECT stripe_customer_id FROM invoice JOIN customer USING (user_id)
                WHERE payment_intent_ids @> ARRAY[$6::text] LIMIT 1
            )) AS customer_id
        )
        INSERT INTO stripe_event
            (id, type, customer_id, payload, received_at, next_try_at, applied_at)
        SELECT $1, $2, customer_id, $4, $5, $5,
               CASE WHEN customer_id IS NULL THEN $5::timestamptz END
        FROM about
        WHERE NOT EXISTS (
            SELECT FROM deleted_customer
            WHERE customer_hash IN (
                sha256(convert_to($3, 'UTF8')), sha256(convert_to($6, 'UTF8'))
            )
        )
        ON CONFLICT (id) DO NOTHING
        RETURNING true
        """,
        event.id,
        event.type,
        event.stripe_customer_id,
        event.payload,
        at,
        event.payment_intent_id,
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


async def unapplied_events(conn: Connection, stripe_customer_id: str) -> list[EventName]:
    """Return the customer's events that are still to be applied, in the order of their arrival."""
    rows = await conn.fetch(
        """
        SELECT id, type FROM stripe_event WHERE customer_id = $1 AND applied_at IS NULL
        ORDER BY received_at, id
        """,
        stripe_customer_id,
    )
    return [EventName(id=row["id"], type=row["type"]) for row in rows]


async def mark_applied(
    conn: Connection, events: list[EventName], *, at: datetime
) -> list[timedelta]:
    """Store that the events need no more work, and return how long each took from its receipt."""
    rows = await conn.fetch(
        """
        UPDATE stripe_event SET applied_at = $2, error = NULL WHERE id = ANY($1)
        RETURNING applied_at - received_at AS lag
        """,
        [event["id"] for event in events],
        at,
    )
    return [row["lag"] for row in rows]


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


async def list_stuck(
    conn: Connection, *, attempts: int, after: str | None, limit: int
) -> list[StoredEvent]:
    """Return up to `limit` events that failed that often and wait still, oldest first.

    Args:
        conn: where.
        attempts: that failed, at least.
        after: id of the last one of the page before.
        limit: at most so many.
    """
    rows = await conn.fetch(
        """
        SELECT id, type, customer_id AS stripe_customer_id, received_at, attempts, next_try_at,
               error
        FROM stripe_event
        WHERE applied_at IS NULL AND attempts >= $1
          AND ($2::text IS NULL OR (received_at, id) > (
              SELECT last.received_at, last.id FROM stripe_event last WHERE last.id = $2
          ))
        ORDER BY received_at, id LIMIT $3
        """,
        attempts,
        after,
        limit,
    )
    return [StoredEvent(**row) for row in rows]


async def retry_now(conn: Connection, event_id: str, *, now: datetime) -> StoredEvent | None:
    """Let a waiting event be tried at once; None if none such waits."""
    row = await conn.fetchrow(
        """
        UPDATE stripe_event SET next_try_at = $2 WHERE id = $1 AND applied_at IS NULL
        RETURNING id, type, customer_id AS stripe_customer_id, received_at, attempts, next_try_at,
                  error
        """,
        event_id,
        now,
    )
    return StoredEvent(**row) if row else None


async def delete_old_events(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` applied events received before then, and return how many."""
    deleted = await conn.fetch(
        """
        DELETE FROM stripe_event WHERE id IN (
            SELECT id FROM stripe_event WHERE received_at < $1 AND applied_at IS NOT NULL
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        RETURNING id
        """,
        before,
        limit,
    )
    return len(deleted)

"""SQL of users as customers of Stripe."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.deleted_users import AccountDeletedError
from services.billing.models import Customer


async def ping(conn: Connection) -> None:
    """Raise if PostgreSQL does not answer."""
    await conn.execute("SELECT 1")


async def try_lock_user(conn: Connection, user_id: UUID) -> bool:
    """Lock the user until `unlock_user` or the connection's end; false if another has it."""
    taken: bool = await conn.fetchval(
        "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"billing:{user_id}"
    )
    return taken


async def unlock_user(conn: Connection, user_id: UUID) -> None:
    """Let others lock the user."""
    await conn.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", f"billing:{user_id}")


async def upsert_customer(
    conn: Connection,
    user_id: UUID,
    *,
    version: int,
    email: str | None,
    phone: str | None,
    name: str | None,
) -> None:
    """Store how the user can be reached, unless a newer version is stored or they were deleted."""
    await conn.execute(
        """
        INSERT INTO customer AS c (user_id, version, email, phone, name)
        SELECT $1, $2, $3, $4, $5 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE
        SET version = EXCLUDED.version, email = EXCLUDED.email, phone = EXCLUDED.phone,
            name = EXCLUDED.name
        WHERE c.version <= EXCLUDED.version
        """,
        user_id,
        version,
        email,
        phone,
        name,
    )


async def ensure_customer(conn: Connection, user_id: UUID) -> Customer:
    """Return the user's row, made now if auth's announcement has not arrived yet.

    Raises:
        AccountDeletedError: the token outlived its user.
    """
    row = await conn.fetchrow(
        """
        INSERT INTO customer (user_id) SELECT $1 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.user_id
        RETURNING user_id, stripe_customer_id, email, phone, name, attempt
        """,
        user_id,
    )
    if row is None:
        raise AccountDeletedError
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


async def stripe_customer_of(conn: Connection, user_id: UUID) -> str | None:
    """Return who the user is at Stripe, if anybody."""
    stripe_customer_id: str | None = await conn.fetchval(
        "SELECT stripe_customer_id FROM customer WHERE user_id = $1", user_id
    )
    return stripe_customer_id


async def claim_stale_customers(
    conn: Connection,
    *,
    now: datetime,
    before: datetime,
    idle_before: datetime,
    tried_before: datetime,
    limit: int,
) -> list[str]:
    """Return customers that may have changed and were not looked at for long.

    Those with a session to pay or a live subscription come first, then those that the sweep tried
    longest ago, and none that it tried since `tried_before`: one that can never be looked at does
    not keep the others waiting.

    Args:
        conn: where.
        now: UTC.
        before: who may change by themselves and were not looked at since are stale; so is who has
            a duplicate that is not healed.
        idle_before: the same for all others, who change only if somebody acts at Stripe.
        tried_before: as above.
        limit: at most so many.
    """
    rows = await conn.fetch(
        """
        UPDATE customer SET swept_at = $1
        WHERE user_id IN (
            SELECT customer.user_id
            FROM customer
            LEFT JOIN subscription USING (user_id)
            LEFT JOIN checkout ON checkout.user_id = customer.user_id AND settled_at IS NULL
            CROSS JOIN LATERAL (
                SELECT checkout.user_id IS NOT NULL
                    OR subscription.status NOT IN ('none', 'canceled', 'incomplete_expired')
                    AS may_change,
                EXISTS (
                    SELECT FROM duplicate_subscription d
                    WHERE d.user_id = customer.user_id AND d.healed_at IS NULL
                ) AS has_duplicate
            ) AS it
            WHERE customer.stripe_customer_id IS NOT NULL
              AND (swept_at IS NULL OR swept_at < $4)
              AND (it.has_duplicate
                   OR coalesce(
                       subscription.as_of, checkout.expires_at - interval '1 day', '-infinity'
                   ) < CASE WHEN it.may_change THEN $2::timestamptz ELSE $3 END)
            ORDER BY it.may_change DESC NULLS LAST, swept_at NULLS FIRST,
                     subscription.as_of NULLS FIRST
            LIMIT $5 FOR UPDATE OF customer SKIP LOCKED
        )
        RETURNING stripe_customer_id
        """,
        now,
        before,
        idle_before,
        tried_before,
        limit,
    )
    return [row["stripe_customer_id"] for row in rows]

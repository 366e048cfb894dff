"""SQL of a user's end."""

from uuid import UUID

from libs.common.db import Connection


async def mark_customer(conn: Connection, user_id: UUID, stripe_customer_id: str) -> None:
    """Store no more webhooks about the customer, nor about payments they made."""
    await conn.execute(
        """
        INSERT INTO deleted_customer (customer_hash)
        SELECT sha256(convert_to(known.id, 'UTF8'))
        FROM (
            SELECT $2::text AS id
            UNION SELECT unnest(payment_intent_ids) FROM invoice WHERE user_id = $1
        ) AS known
        ON CONFLICT DO NOTHING
        """,
        user_id,
        stripe_customer_id,
    )


async def delete_events(conn: Connection, stripe_customer_id: str) -> None:
    """Delete what Stripe told of the customer."""
    await conn.execute("DELETE FROM stripe_event WHERE customer_id = $1", stripe_customer_id)


async def delete_subscription(conn: Connection, user_id: UUID) -> None:
    """Delete what the user subscribed to and paid, why, and the session they might have paid."""
    await conn.execute(
        """
        WITH offered AS (DELETE FROM checkout WHERE user_id = $1),
             billed AS (DELETE FROM invoice WHERE user_id = $1),
             told AS (DELETE FROM timeline WHERE user_id = $1),
             healed AS (DELETE FROM duplicate_subscription WHERE user_id = $1)
        DELETE FROM subscription WHERE user_id = $1
        """,
        user_id,
    )


async def delete_customer(conn: Connection, user_id: UUID) -> None:
    """Delete how the user can be reached and who they are at Stripe."""
    await conn.execute("DELETE FROM customer WHERE user_id = $1", user_id)

"""SQL of what a user may take along."""

from typing import Any
from uuid import UUID

from libs.common.db import Connection


async def find_customer(conn: Connection, user_id: UUID) -> dict[str, Any] | None:
    """Return how the user can be reached and who they are at Stripe."""
    row = await conn.fetchrow(
        "SELECT email, phone, name, stripe_customer_id FROM customer WHERE user_id = $1", user_id
    )
    return dict(row) if row else None


async def find_checkout(conn: Connection, user_id: UUID) -> dict[str, Any] | None:
    """Return the session that the user was given last."""
    row = await conn.fetchrow(
        "SELECT session_id, url, expires_at, settled_at FROM checkout WHERE user_id = $1", user_id
    )
    return dict(row) if row else None


async def list_event_payloads(conn: Connection, stripe_customer_id: str) -> list[str]:
    """Return what Stripe told of the customer in the last 30 days, oldest first: JSON each."""
    rows = await conn.fetch(
        "SELECT payload FROM stripe_event WHERE customer_id = $1 ORDER BY received_at, id",
        stripe_customer_id,
    )
    return [row["payload"] for row in rows]


async def list_invoices(conn: Connection, user_id: UUID) -> list[dict[str, Any]]:
    """Return all invoices of which we have a copy, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, subscription_id, number, status, currency, total, amount_paid, refunded_amount,
               dispute_status, period_start, period_end, created_at, hosted_url, pdf_url
        FROM invoice WHERE user_id = $1 ORDER BY created_at DESC, id DESC
        """,
        user_id,
    )
    return [dict(row) for row in rows]

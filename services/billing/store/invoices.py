"""SQL of our copies of Stripe's invoices."""

from collections.abc import Sequence
from uuid import UUID

from libs.common.db import Connection
from services.billing.models import Invoice


async def upsert_invoices(conn: Connection, user_id: UUID, invoices: Sequence[Invoice]) -> None:
    """Store the user's invoices as they are now; those that are not given stay as they were."""
    await conn.executemany(
        """
        INSERT INTO invoice AS old
            (user_id, id, subscription_id, number, status, currency, total, amount_paid,
             refunded_amount, dispute_status, period_start, period_end, created_at, hosted_url,
             pdf_url, payment_intent_ids)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT (id) DO UPDATE
        SET number = EXCLUDED.number, status = EXCLUDED.status, total = EXCLUDED.total,
            amount_paid = EXCLUDED.amount_paid, refunded_amount = EXCLUDED.refunded_amount,
            dispute_status = EXCLUDED.dispute_status, hosted_url = EXCLUDED.hosted_url,
            pdf_url = EXCLUDED.pdf_url, payment_intent_ids = EXCLUDED.payment_intent_ids
        WHERE (old.*) IS DISTINCT FROM (EXCLUDED.*)
        """,
        [
            (
                user_id,
                each.id,
                each.subscription_id,
                each.number,
                each.status,
                each.currency,
                each.total,
                each.amount_paid,
                each.refunded_amount,
                each.dispute_status,
                each.period_start,
                each.period_end,
                each.created_at,
                each.hosted_url,
                each.pdf_url,
                list(each.payment_intent_ids),
            )
            for each in invoices
        ],
    )


async def list_invoices(
    conn: Connection, user_id: UUID, *, before: str | None, limit: int
) -> list[Invoice]:
    """Return the user's invoices, newest first, at most `limit`.

    Args:
        conn: any.
        user_id: whose.
        before: an id of theirs; only those that are older. Of another's id nothing is older.
        limit: at most.
    """
    rows = await conn.fetch(
        """
        SELECT id, subscription_id, number, status, currency, total, amount_paid, refunded_amount,
               dispute_status, period_start, period_end, created_at, hosted_url, pdf_url,
               payment_intent_ids
        FROM invoice
        WHERE user_id = $1
          AND ($2::text IS NULL OR (created_at, id) < (
              SELECT created_at, id FROM invoice WHERE id = $2 AND user_id = $1))
        ORDER BY created_at DESC, id DESC
        LIMIT $3
        """,
        user_id,
        before,
        limit,
    )
    return [
        Invoice(**{**row, "payment_intent_ids": tuple(row["payment_intent_ids"])}) for row in rows
    ]


async def has_invoice(conn: Connection, user_id: UUID) -> bool:
    """Return whether the user ever had one; a trial's is one too."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM invoice WHERE user_id = $1)", user_id
    )
    return found

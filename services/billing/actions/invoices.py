"""A user's invoices, from our own copies."""

from uuid import UUID

from services.billing.models import Invoice
from services.billing.resources import Resources
from services.billing.store import invoices


async def list_invoices(
    res: Resources, user_id: UUID, *, before: str | None, limit: int
) -> list[Invoice]:
    """Return the user's invoices older than `before`, the newest first; Stripe is not asked."""
    async with res.db.acquire() as conn:
        return await invoices.list_invoices(conn, user_id, before=before, limit=limit)

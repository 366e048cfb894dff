"""A user's invoices, from our own copies."""

from uuid import UUID

from services.billing.models import InvoiceOut, InvoicePage
from services.billing.resources import Resources
from services.billing.store import invoices


async def list_invoices(
    res: Resources, user_id: UUID, *, before: str | None, limit: int
) -> InvoicePage:
    """Return a page of the user's invoices, the newest first; Stripe is not asked."""
    async with res.db.acquire() as conn:
        found = await invoices.list_invoices(conn, user_id, before=before, limit=limit + 1)
    data = [InvoiceOut.model_validate(each) for each in found[:limit]]
    has_more = len(found) > limit
    return InvoicePage(data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more)

"""What billing knows of a user, for the user."""

from uuid import UUID

from libs.common.exports import document
from services.billing.actions.users import subscription_status
from services.billing.resources import Resources
from services.billing.store import exports, grants, timeline


async def export_billing(res: Resources, user_id: UUID) -> bytes:
    """Return customer, plan, grants, what changed it, checkout, invoices, Stripe's events."""
    status = await subscription_status(res, user_id)
    async with res.db.acquire() as conn:
        customer = await exports.find_customer(conn, user_id)
        checkout = await exports.find_checkout(conn, user_id)
        granted = await grants.export_grants(conn, user_id)
        invoices = await exports.list_invoices(conn, user_id)
        customer_id = customer["stripe_customer_id"] if customer else None
        told = await exports.list_event_payloads(conn, customer_id) if customer_id else []
        entries = await timeline.list_entries(conn, user_id, before=None, limit=None)
    head = {
        "customer": customer,
        "subscription": status.model_dump(),
        "checkout": checkout,
        "grants": granted,
        "timeline": entries,
        "invoices": invoices,
    }
    events = ",".join(told).encode()  # a month of one person's: some dozens, of 3 kB each
    return document(head)[:-1] + b',"stripe_events":[' + events + b"]}"

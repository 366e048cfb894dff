"""https://docs.stripe.com/api/invoices; the emulator makes them, callers only read them."""

from deploy.local.stripe import lists
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.protocol import Call


def retrieve(call: Call) -> JSON:
    """Return an invoice."""
    call.params.only()
    return call.account.get("invoice", call.ids["id"])


def list_all(call: Call) -> JSON:
    """List invoices."""
    params = call.params.only("customer", "status", "subscription", *lists.PAGE)
    equal = {
        "customer": params.text("customer"),
        "status": params.text("status"),
        "parent.subscription_details.subscription": params.text("subscription"),
    }
    return lists.page(call, "invoice", "/v1/invoices", equal=equal)

"""https://docs.stripe.com/api/customer_portal/sessions."""

from deploy.local.stripe.api.customers import live_customer
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects import customer as objects
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.protocol import Call


def create(call: Call) -> JSON:
    """Make a session whose `url` is the emulator's portal page."""
    params = call.params.only("return_url", "locale", required=("customer",))
    customer = live_customer(call, params.text("customer") or "")
    session_id = new_id("bps")
    body = objects.portal_session(
        session_id,
        customer_id=customer["id"],
        return_url=params.url("return_url"),
        url=f"{call.account.base_url}/portal/{session_id}",
        created=call.account.now,
    )
    body["locale"] = params.text("locale")
    call.account.save(body)
    return body

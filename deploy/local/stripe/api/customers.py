"""https://docs.stripe.com/api/customers."""

from deploy.local.stripe import lists, subscriptions
from deploy.local.stripe.errors import JSON, no_such
from deploy.local.stripe.objects import customer as objects
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call

_TEXTS = ("email", "name", "description", "phone")
_KNOWN = (*_TEXTS, "metadata")


def create(call: Call) -> JSON:
    """Make a customer."""
    params = call.params.only(*_KNOWN)
    body = objects.customer(new_id("cus"), created=call.account.now)
    _apply(body, params)
    call.account.announce(body, "customer.created")
    return body


def retrieve(call: Call) -> JSON:
    """Return a customer; a deleted one as `{"deleted": true}`."""
    call.params.only()
    return call.account.get("customer", call.ids["id"])


def update(call: Call) -> JSON:
    """Change what was sent."""
    params = call.params.only(*_KNOWN)
    body = live_customer(call, call.ids["id"], param="id")
    _apply(body, params)
    call.account.announce(body, "customer.updated")
    return body


def delete(call: Call) -> JSON:
    """Delete a customer for good, and cancel what they subscribed to."""
    call.params.only()
    body = live_customer(call, call.ids["id"], param="id")
    for subscription in list(call.account.store.scan("subscription", {"customer": body["id"]})):
        if subscription["status"] not in subscriptions.ENDED:
            subscriptions.end(call.account, subscription, reason="cancellation_requested")
    gone = {"id": body["id"], "object": "customer", "deleted": True}
    call.account.save(gone)
    call.account.emit("customer.deleted", {"object": body})
    return gone


def list_all(call: Call) -> JSON:
    """List customers that are not deleted, by exact `email` if it is sent."""
    params = call.params.only("email", *lists.PAGE)
    return lists.page(
        call,
        "customer",
        "/v1/customers",
        equal={"email": params.text("email")},
        keep=lambda body: not body.get("deleted"),
    )


def live_customer(call: Call, customer_id: str, *, param: str = "customer") -> JSON:
    """Return a customer that is not deleted.

    Raises:
        NotFoundError: there is none, or no longer.
    """
    body = call.account.get("customer", customer_id, param=param)
    if body.get("deleted"):
        raise no_such("customer", customer_id, param=param)
    return body


def _apply(body: JSON, params: Params) -> None:
    for key in _TEXTS:
        if params.has(key):
            body[key] = params.text(key)
    if body["email"] is not None and "@" not in body["email"]:
        raise params.invalid("email", "must be an e-mail address", code="email_invalid")
    body["metadata"] = params.metadata(body["metadata"])

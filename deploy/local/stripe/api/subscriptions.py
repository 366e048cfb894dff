"""https://docs.stripe.com/api/subscriptions."""

from deploy.local.stripe import lists, subscriptions
from deploy.local.stripe.api.catalog import recurring_lines
from deploy.local.stripe.api.customers import live_customer
from deploy.local.stripe.errors import JSON, CardError, no_such
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call

STATUSES = (
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "canceled",
    "unpaid",
    "paused",
)
_BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete")


def create(call: Call) -> JSON:
    """Subscribe a customer; what a card that fails leads to is `payment_behavior`'s business."""
    params = call.params.only(
        "metadata",
        "payment_behavior",
        "trial_period_days",
        "cancel_at_period_end",
        required=("customer", "items"),
    )
    customer = live_customer(call, params.text("customer") or "")
    behavior = params.choice("payment_behavior", *_BEHAVIORS)
    trial_days = params.integer("trial_period_days", low=1, high=730)
    lines = recurring_lines(call, "items")
    works = call.account.card_works(customer["id"])
    if behavior == "error_if_incomplete" and not trial_days and not works:
        raise CardError("Your card was declined.")
    body = subscriptions.start(
        call.account,
        customer=customer,
        lines=lines,
        metadata=params.metadata(),
        trial_days=trial_days,
        pay=behavior != "default_incomplete",
    )
    if params.flag("cancel_at_period_end"):
        subscriptions.plan_end(call.account, body, at=subscriptions.period_of(body)[1])
        call.account.announce(body, "customer.subscription.updated")
    return body


def retrieve(call: Call) -> JSON:
    """Return a subscription."""
    call.params.only()
    return call.account.get("subscription", call.ids["id"])


def update(call: Call) -> JSON:
    """Change what was sent; a switch of price is never prorated."""
    params = call.params.only(
        "cancel_at",
        "cancel_at_period_end",
        "cancellation_details",
        "description",
        "items",
        "metadata",
        "proration_behavior",
    )
    params.choice("proration_behavior", "none", "create_prorations", "always_invoice")
    body = _live(call)
    body["metadata"] = params.metadata(body["metadata"])
    if params.has("description"):
        body["description"] = params.text("description")
    _apply_end(call, body)
    _apply_details(params, body)
    for item in params.children("items"):
        _apply_item(call, body, item)
    call.account.announce(body, "customer.subscription.updated")
    return body


def cancel(call: Call) -> JSON:
    """End a subscription now."""
    params = call.params.only("cancellation_details", "invoice_now", "prorate")
    body = _live(call)
    _apply_details(params, body)
    return subscriptions.end(call.account, body, reason="cancellation_requested")


def list_all(call: Call) -> JSON:
    """List subscriptions; canceled ones only for `status` canceled, ended or all."""
    params = call.params.only("customer", "status", "price", *lists.PAGE)
    status = params.choice("status", *STATUSES, "ended", "all")
    price = params.text("price")

    def keep(body: JSON) -> bool:
        if price and price not in {item["price"]["id"] for item in body["items"]["data"]}:
            return False
        match status:
            case None:
                return bool(body["status"] != "canceled")
            case "all":
                return True
            case "ended":
                return body["status"] in subscriptions.ENDED
        return bool(body["status"] == status)

    equal = {"customer": params.text("customer")}
    return lists.page(call, "subscription", "/v1/subscriptions", equal=equal, keep=keep)


def _live(call: Call) -> JSON:
    body = call.account.get("subscription", call.ids["id"])
    # Stripe, too, says of an ended subscription that there is none.
    if body["status"] in subscriptions.ENDED:
        raise no_such("subscription", body["id"])
    return body


def _apply_end(call: Call, body: JSON) -> None:
    params = call.params
    at_period_end = params.flag("cancel_at_period_end")
    if at_period_end is not None and params.text("cancel_at"):
        raise params.invalid("cancel_at", "must not be sent together with cancel_at_period_end")
    if at_period_end is not None:
        end = subscriptions.period_of(body)[1] if at_period_end else None
        # False takes back an end with the period, and none that was planned as a moment.
        if end != body["cancel_at"] and (at_period_end or body["cancel_at_period_end"]):
            subscriptions.plan_end(call.account, body, at=end)
    elif params.has("cancel_at"):
        end = params.integer("cancel_at", low=call.account.now + 1)
        subscriptions.plan_end(call.account, body, at=end)


def _apply_details(params: Params, body: JSON) -> None:
    details = params.child("cancellation_details").only("comment", "feedback")
    for key in ("comment", "feedback"):
        if details.has(key):
            body["cancellation_details"][key] = details.text(key)


def _apply_item(call: Call, body: JSON, params: Params) -> None:
    params.only("price", "quantity", required=("id",))
    items = {item["id"]: item for item in body["items"]["data"]}
    item = items.get(params.text("id") or "")
    if item is None:
        raise no_such("subscription item", params.text("id") or "", param=params.name("id"))
    quantity = params.integer("quantity", low=1, high=10_000)
    item["quantity"] = quantity or item["quantity"]
    price_id = params.text("price")
    if price_id is not None:
        price = call.account.get("price", price_id, param=params.name("price"))
        if price["recurring"] is None:
            raise params.invalid("price", "must be recurring; this one is one-time")
        subscriptions.switch_price(call.account, body, item, price)

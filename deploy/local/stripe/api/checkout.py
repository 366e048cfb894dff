"""https://docs.stripe.com/api/checkout/sessions, in subscription mode."""

from deploy.local.stripe import checkout, lists
from deploy.local.stripe.api.catalog import recurring_lines
from deploy.local.stripe.api.coupons import coupon_of
from deploy.local.stripe.api.customers import live_customer
from deploy.local.stripe.errors import JSON, InvalidRequestError
from deploy.local.stripe.objects import checkout as objects
from deploy.local.stripe.objects.coupon import amount_of
from deploy.local.stripe.objects.wire import listing, new_id
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call

LIFE_S = 86_400
SHORTEST_LIFE_S = 1800
URL = "/v1/checkout/sessions"
# What the pay page and the payment have no use for, but a caller may well send.
_WITHOUT_EFFECT = (
    "billing_address_collection",
    "customer_update",
    "locale",
    "payment_method_collection",
    "payment_method_types",
    "ui_mode",
)
_ECHOED = ("cancel_url", "client_reference_id", "customer_email", "locale")


def create(call: Call) -> JSON:
    """Make an open session whose `url` is the emulator's pay page."""
    params = call.params.only(
        *_ECHOED,
        *_WITHOUT_EFFECT,
        "allow_promotion_codes",
        "customer",
        "discounts",
        "expires_at",
        "metadata",
        "subscription_data",
        required=("mode", "line_items", "success_url"),
    )
    if params.choice("mode", "payment", "setup", "subscription") != "subscription":
        raise params.invalid("mode", "must be subscription; the emulator has no other")
    params.choice("ui_mode", "hosted_page")
    _check_person(call)
    trial_days, metadata = _subscription_data(params)
    session_id = new_id("cs_test")
    lines = [
        objects.line_item(
            new_id("li"),
            price=price,
            description=call.account.get("product", price["product"])["name"],
            quantity=quantity,
        )
        for price, quantity in recurring_lines(call, "line_items")
    ]
    session = objects.session(
        session_id,
        lines=lines,
        created=call.account.now,
        expires_at=_expires_at(call),
        url=f"{call.account.base_url}/pay/{session_id}",
    )
    session |= {key: params.text(key) for key in _ECHOED}
    session |= {
        "customer": params.text("customer"),
        "metadata": params.metadata(),
        "success_url": params.url("success_url"),
        "cancel_url": params.url("cancel_url"),
        # Told to who asks; the pay page has no field for a code.
        "allow_promotion_codes": params.flag("allow_promotion_codes"),
        "_coupon": None,
        "_subscription_metadata": metadata,
        "_trial_days": trial_days,
    }
    coupon = coupon_of(call, params)
    if coupon is not None:
        off = amount_of(coupon, session["amount_subtotal"])
        session["_coupon"] = coupon["id"]
        session["discounts"] = [{"coupon": coupon["id"], "promotion_code": None}]
        session["total_details"]["amount_discount"] = off
        session["amount_total"] -= off
    if trial_days:
        session["amount_total"] = session["amount_subtotal"] = 0
    call.account.save(session)
    return session


def retrieve(call: Call) -> JSON:
    """Return a session."""
    call.params.only()
    return call.account.get("checkout.session", call.ids["id"])


def expire(call: Call) -> JSON:
    """Expire an open session."""
    call.params.only()
    session = call.account.get("checkout.session", call.ids["id"])
    if session["status"] != "open":
        raise InvalidRequestError(
            f"Only an open session can be expired; this one is {session['status']}."
        )
    checkout.expire(call.account, session)
    return session


def list_all(call: Call) -> JSON:
    """List sessions."""
    params = call.params.only("customer", "status", "subscription", *lists.PAGE)
    equal = {key: params.text(key) for key in ("customer", "status", "subscription")}
    return lists.page(call, "checkout.session", URL, equal=equal)


def list_line_items(call: Call) -> JSON:
    """List all lines of a session."""
    call.params.only("limit")
    session = call.account.get("checkout.session", call.ids["id"])
    return listing(session["_lines"], f"{URL}/{session['id']}/line_items")


def _check_person(call: Call) -> None:
    customer, email = call.params.text("customer"), call.params.text("customer_email")
    if customer is not None and email is not None:
        raise InvalidRequestError(
            "Send either customer or customer_email, not both.", param="customer_email"
        )
    if customer is not None:
        live_customer(call, customer)
    if email is not None and "@" not in email:
        raise call.params.invalid("customer_email", "must be an e-mail address")


def _subscription_data(params: Params) -> tuple[int | None, dict[str, str]]:
    data = params.child("subscription_data").only("metadata", "trial_period_days")
    return data.integer("trial_period_days", low=1, high=730), data.metadata()


def _expires_at(call: Call) -> int:
    now = call.account.now
    wish = call.params.integer("expires_at")
    if wish is not None and not now + SHORTEST_LIFE_S <= wish <= now + LIFE_S:
        raise call.params.invalid("expires_at", "must be between 30 minutes and 24 hours from now")
    return wish or now + LIFE_S

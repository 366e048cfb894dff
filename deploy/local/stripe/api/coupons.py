"""https://docs.stripe.com/api/coupons."""

from deploy.local.stripe.errors import JSON, InvalidRequestError
from deploy.local.stripe.objects import coupon as objects
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call


def create(call: Call) -> JSON:
    """Make a coupon, under the caller's own id if one is sent."""
    params = call.params.only("id", "percent_off", "amount_off", "currency", "duration")
    percent = params.integer("percent_off", low=1, high=100)
    amount = params.integer("amount_off", low=1)
    if (percent is None) == (amount is None):
        raise InvalidRequestError("Send one of percent_off and amount_off.", param="percent_off")
    body = objects.coupon(
        params.text("id") or new_id("coupon"),
        percent_off=percent,
        amount_off=amount,
        currency=params.text("currency"),
        duration=params.choice("duration", "once", "forever") or "once",
        created=call.account.now,
    )
    call.account.announce(body, "coupon.created")
    return body


def retrieve(call: Call) -> JSON:
    """Return a coupon."""
    call.params.only()
    return call.account.get("coupon", call.ids["id"])


def coupon_of(call: Call, params: Params) -> JSON | None:
    """Return the coupon that a `discounts` parameter names, if there is one.

    Raises:
        InvalidRequestError: there are several, or promotion codes are allowed besides.
        NotFoundError: there is no such coupon.
    """
    sent = params.children("discounts")
    if not sent:
        return None
    if len(sent) > 1 or params.flag("allow_promotion_codes") is not None:
        raise InvalidRequestError(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            param="discounts",
        )
    (one,) = sent
    one.only(required=("coupon",))
    return call.account.get("coupon", one.text("coupon") or "", param=one.name("coupon"))

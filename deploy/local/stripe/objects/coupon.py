"""Coupons, and the discounts that they become once they are used."""

from deploy.local.stripe.errors import JSON


def coupon(
    coupon_id: str,
    *,
    percent_off: int | None,
    amount_off: int | None,
    currency: str | None,
    duration: str,
    created: int,
) -> JSON:
    """Return a coupon for either a percentage or an amount; `duration` is `once` or `forever`."""
    return {
        "id": coupon_id,
        "object": "coupon",
        "amount_off": amount_off,
        "created": created,
        "currency": currency,
        "duration": duration,
        "duration_in_months": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": {},
        "name": None,
        "percent_off": None if percent_off is None else float(percent_off),
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
    }


def amount_of(body: JSON, total: int) -> int:
    """Return what the coupon takes off `total`, in the smallest unit, at most all of it."""
    if body["percent_off"] is not None:
        return round(total * float(body["percent_off"]) / 100)
    return min(total, int(body["amount_off"]))


def discount(discount_id: str, *, coupon_id: str, subscription: JSON, created: int) -> JSON:
    """Return the use of a coupon for a subscription."""
    return {
        "id": discount_id,
        "object": "discount",
        "checkout_session": None,
        "customer": subscription["customer"],
        "customer_account": None,
        "end": None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": None,
        "source": {"coupon": coupon_id, "type": "coupon"},
        "start": created,
        "subscription": subscription["id"],
        "subscription_item": None,
    }

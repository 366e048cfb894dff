"""Products and prices, the two that every emulator starts with among them."""

from deploy.local.stripe.errors import JSON


def product(product_id: str, *, name: str, created: int) -> JSON:
    """Return an active service product."""
    return {
        "id": product_id,
        "object": "product",
        "active": True,
        "created": created,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": "service",
        "unit_label": None,
        "updated": created,
        "url": None,
    }


def price(
    price_id: str,
    *,
    product_id: str,
    unit_amount: int,
    currency: str,
    interval: str | None,
    created: int,
    interval_count: int = 1,
) -> JSON:
    """Return an active licensed price.

    Args:
        price_id: its id.
        product_id: what it is a price of.
        unit_amount: in the currency's smallest unit, cents for USD.
        currency: ISO code in lower case.
        interval: day, week, month or year; None makes it a one-time price.
        created: Unix time.
        interval_count: intervals per period.
    """
    recurring = {
        "interval": interval,
        "interval_count": interval_count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
    return {
        "id": price_id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product_id,
        "recurring": recurring if interval else None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if interval else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
    }


def plan(of: JSON) -> JSON:
    """Return the older view of a recurring price that subscription items still carry."""
    return {
        "id": of["id"],
        "object": "plan",
        "active": of["active"],
        "amount": of["unit_amount"],
        "amount_decimal": of["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": of["created"],
        "currency": of["currency"],
        "interval": of["recurring"]["interval"],
        "interval_count": of["recurring"]["interval_count"],
        "livemode": False,
        "metadata": of["metadata"],
        "meter": None,
        "nickname": of["nickname"],
        "product": of["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def seeds(created: int) -> list[JSON]:
    """Return the catalog of a new account: Pro at 12.00 USD a month or 120.00 USD a year."""
    pro = product("prod_pro", name="Thoughtflow Pro", created=created)
    pro["description"] = "Messages without a daily limit"
    pro["default_price"] = "price_pro_monthly"
    prices = []
    for price_id, amount, interval in (
        ("price_pro_monthly", 1200, "month"),
        ("price_pro_yearly", 12000, "year"),
    ):
        seeded = price(
            price_id,
            product_id="prod_pro",
            unit_amount=amount,
            currency="usd",
            interval=interval,
            created=created,
        )
        seeded["lookup_key"] = price_id.removeprefix("price_")
        prices.append(seeded)
    return [pro, *prices]

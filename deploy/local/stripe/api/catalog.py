"""https://docs.stripe.com/api/products and https://docs.stripe.com/api/prices."""

from deploy.local.stripe import lists
from deploy.local.stripe.errors import JSON, InvalidRequestError
from deploy.local.stripe.objects import catalog as objects
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call


def create_product(call: Call) -> JSON:
    """Make a product, under the caller's own id if one is sent."""
    params = call.params.only("id", "description", "active", "metadata", required=("name",))
    product_id = params.text("id") or new_id("prod")
    if call.account.store.get("product", product_id):
        raise InvalidRequestError(
            f"Product already exists: {product_id}.", param="id", code="resource_already_exists"
        )
    body = objects.product(product_id, name=params.text("name") or "", created=call.account.now)
    body["description"] = params.text("description")
    body["active"] = params.flag("active") is not False
    body["metadata"] = params.metadata()
    call.account.announce(body, "product.created")
    return body


def retrieve_product(call: Call) -> JSON:
    """Return a product."""
    call.params.only()
    return call.account.get("product", call.ids["id"])


def list_products(call: Call) -> JSON:
    """List products, the active or inactive ones if asked."""
    active = call.params.only("active", *lists.PAGE).flag("active")
    return lists.page(
        call,
        "product",
        "/v1/products",
        keep=lambda body: active is None or body["active"] == active,
    )


def create_price(call: Call) -> JSON:
    """Make a per-unit price of an existing product."""
    params = call.params.only(
        "recurring",
        "lookup_key",
        "nickname",
        "metadata",
        required=("currency", "product", "unit_amount"),
    )
    recurring = params.child("recurring").only("interval", "interval_count")
    interval = recurring.choice("interval", "day", "week", "month", "year")
    if params.has("recurring") and interval is None:
        raise recurring.invalid("interval", "must be day, week, month or year")
    body = objects.price(
        new_id("price"),
        product_id=call.account.get("product", params.text("product") or "", param="product")["id"],
        unit_amount=params.integer("unit_amount") or 0,
        currency=(params.text("currency") or "").lower(),
        interval=interval,
        interval_count=recurring.integer("interval_count", low=1, high=365) or 1,
        created=call.account.now,
    )
    body |= {
        "lookup_key": params.text("lookup_key"),
        "nickname": params.text("nickname"),
        "metadata": params.metadata(),
    }
    call.account.announce(body, "price.created")
    return body


def retrieve_price(call: Call) -> JSON:
    """Return a price."""
    call.params.only()
    return call.account.get("price", call.ids["id"])


def list_prices(call: Call) -> JSON:
    """List prices, those with one of the `lookup_keys` if they are sent."""
    params = call.params.only("active", "product", "currency", "type", "lookup_keys", *lists.PAGE)
    active, keys = params.flag("active"), params.texts("lookup_keys")
    equal = {key: params.text(key) for key in ("product", "currency", "type")}
    return lists.page(
        call,
        "price",
        "/v1/prices",
        equal=equal,
        keep=lambda body: (
            (active is None or body["active"] == active)
            and (not keys or body["lookup_key"] in keys)
        ),
    )


def recurring_lines(call: Call, name: str) -> list[tuple[JSON, int]]:
    """Return the prices and quantities of a `line_items` or `items` parameter.

    Raises:
        InvalidRequestError: there are none, or they are not recurring prices of one currency and
            one interval.
        NotFoundError: there is no such price.
    """
    lines = [_line(call, params) for params in call.params.children(name)]
    if not lines:
        raise call.params.invalid(name, "must have at least one price", code="parameter_missing")
    shapes = {
        (p["currency"], p["recurring"]["interval"], p["recurring"]["interval_count"])
        for p, _ in lines
    }
    if len(shapes) > 1:
        raise call.params.invalid(name, "must have prices of one currency and interval")
    return lines


def _line(call: Call, params: Params) -> tuple[JSON, int]:
    params.only("price", "quantity", required=("price",))
    param = params.name("price")
    price = call.account.get("price", params.text("price") or "", param=param)
    if price["recurring"] is None:
        raise params.invalid("price", "must be recurring; this one is one-time")
    if not price["active"]:
        raise params.invalid("price", "must be active")
    return price, params.integer("quantity", low=1, high=10_000) or 1

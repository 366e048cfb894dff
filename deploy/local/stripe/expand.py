"""Expansion of ids into objects, https://docs.stripe.com/api/expanding_objects."""

from typing import Any

from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON, InvalidRequestError
from deploy.local.stripe.objects.wire import listing, public

MAX_DEPTH = 4

# Fields that hold an id, and the kind of object it names.
_KINDS = {
    "customer": "customer",
    "subscription": "subscription",
    "latest_invoice": "invoice",
    "invoice": "invoice",
    "product": "product",
    "price": "price",
    "default_price": "price",
    "charge": "charge",
}


def expand(account: Account, body: JSON, paths: list[str]) -> JSON:
    """Replace the ids at `paths`, such as `latest_invoice` or `data.customer`, by objects.

    Raises:
        InvalidRequestError: a path leads nowhere, or deeper than `MAX_DEPTH`.
    """
    for path in paths:
        keys = path.split(".")
        if len(keys) > MAX_DEPTH:
            raise InvalidRequestError(
                f"You cannot expand more than {MAX_DEPTH} levels: {path}.", param="expand"
            )
        _descend(account, body, keys, path)
    return body


def _descend(account: Account, node: Any, keys: list[str], path: str) -> None:
    if isinstance(node, list):
        for child in node:
            _descend(account, child, keys, path)
        return
    if not isinstance(node, dict):
        if node is None:
            return
        raise _not_expandable(path)
    key, *rest = keys
    if key not in node:
        node[key] = _included(account, node, key, path)
    elif isinstance(node[key], str):
        if key not in _KINDS:
            raise _not_expandable(path)
        node[key] = public(account.get(_KINDS[key], node[key]))
    elif not rest and isinstance(node[key], int | float | bool):
        raise _not_expandable(path)
    if rest:
        _descend(account, node[key], rest, path)


def _included(account: Account, node: JSON, key: str, path: str) -> JSON:
    """Return a list that Stripe shows only when asked."""
    match node.get("object"), key:
        case "checkout.session", "line_items":
            lines = account.get("checkout.session", node["id"])["_lines"]
            return listing(lines, f"/v1/checkout/sessions/{node['id']}/line_items")
        case "invoice", "payments":
            found = account.store.scan("invoice_payment", {"invoice": node["id"]})
            return listing(list(found), f"/v1/invoice_payments?invoice={node['id']}")
        case "customer", "subscriptions":
            found = account.store.scan("subscription", {"customer": node["id"]})
            live = [public(body) for body in found if body["status"] != "canceled"]
            return listing(live, f"/v1/customers/{node['id']}/subscriptions")
    raise _not_expandable(path)


def _not_expandable(path: str) -> InvalidRequestError:
    return InvalidRequestError(f"This property cannot be expanded ({path}).", param="expand")

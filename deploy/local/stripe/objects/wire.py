"""What all objects have in common: ids, lists, and the public view."""

import secrets
import string
from collections.abc import Sequence

from deploy.local.stripe.errors import JSON

API_VERSION = "2026-10-28.endive"
_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """Return a random id such as `cus_` and 24 letters or digits."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))


def public(body: JSON) -> JSON:
    """Return the object without the emulator's own notes."""
    return {key: value for key, value in body.items() if not key.startswith("_")}


def listing(data: Sequence[JSON], url: str, *, has_more: bool = False) -> JSON:
    """Return Stripe's list object."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}

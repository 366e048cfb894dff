"""Webhooks: proof that Stripe sent them, and what we read of them."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import stripe

from services.billing.errors import BadSignatureError, MalformedEventError
from services.billing.models import StripeEvent

TOLERANCE_S = 300
_ID = re.compile(r"[\x21-\x7e]{1,255}")


def read_event(
    raw: bytes, signature: str | None, *, secrets: Sequence[str], now: datetime
) -> StripeEvent:
    """Return the event in a webhook's body once its signature is proven.

    See https://docs.stripe.com/webhooks#verify-manually for the signature.

    Args:
        raw: the body as it arrived, byte for byte.
        signature: the `Stripe-Signature` header.
        secrets: any of them may have signed; there are two while one replaces the other.
        now: UTC; a signature made more than `TOLERANCE_S` before or after is refused.

    Raises:
        BadSignatureError: none of the secrets signed these bytes, or not lately.
        MalformedEventError: the body is signed and no Stripe event.
    """
    header = signature or ""
    try:
        body = raw.decode()
    except UnicodeDecodeError as exc:
        raise MalformedEventError("the body is not UTF-8") from exc
    if not header.isascii() or not any(_signed(body, header, secret) for secret in secrets):
        raise BadSignatureError("send Stripe's own body with a current Stripe-Signature header")
    # The SDK refuses old timestamps and lets future ones pass.
    parts = [part.split("=") for part in header.split(",")]  # and reads no further than a second =
    stamps = [part[1] for part in parts if part[0] == "t"]
    if abs(int(stamps[0]) - now.timestamp()) > TOLERANCE_S:
        raise BadSignatureError("the Stripe-Signature header is not current; check the clock")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedEventError("the body is not JSON") from exc
    return _event(document, body)


def _signed(body: str, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_S)
    except stripe.SignatureVerificationError:
        return False
    return True


def _event(document: Any, body: str) -> StripeEvent:
    event_id, kind = (_text(_member(document, key)) for key in ("id", "type"))
    if event_id is None or kind is None:
        raise MalformedEventError("the body is no Stripe event: it needs an id and a type")
    about = _member(_member(document, "data"), "object")
    customer = about if _member(about, "object") == "customer" else _member(about, "customer")
    customer_id = customer if isinstance(customer, str) else _member(customer, "id")
    intent = _member(about, "payment_intent")
    intent_id = intent if isinstance(intent, str) else _member(intent, "id")
    return StripeEvent(event_id, kind, _text(customer_id), body, _text(intent_id))


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None

"""The port to Stripe; nothing else imports its SDK."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, cast
from uuid import UUID

import stripe
from typing_extensions import override

from services.billing.errors import (
    BadSignatureError,
    BillingUnavailableError,
    CustomerGoneError,
    MalformedEventError,
)
from services.billing.models import Checkout, Customer, SessionState, StripeEvent, Subscription

TIMEOUT_S = 4.0
"""Seconds that Stripe gets to connect, and again to answer; a failed call is tried twice."""

TOLERANCE_S = 300
_ID = re.compile(r"[\x21-\x7e]{1,255}")
# What Stripe does not keep under an idempotency key: another call in progress, too many calls.
_NOT_KEPT = {409, 429}


class Payments(Protocol):
    """What billing asks of Stripe; every method raises `BillingUnavailableError`."""

    async def create_customer(self, user_id: UUID, *, idempotency_key: str) -> str:
        """Return the id of a new Stripe customer, who has no more than our id."""

    async def describe_customer(self, customer: Customer) -> None:
        """Tell Stripe how the customer can be reached, as far as we know.

        Raises:
            CustomerGoneError: the customer was deleted at Stripe.
        """

    async def open_checkout(
        self, customer: Customer, *, success_url: str, cancel_url: str, idempotency_key: str
    ) -> Checkout:
        """Open a session in which the customer may buy Pro.

        Raises:
            CustomerGoneError: the customer was deleted at Stripe.
        """

    async def session_state(self, session_id: str) -> SessionState | None:
        """Return what became of a session, None if Stripe does not know it."""

    async def expire_session(self, session_id: str) -> SessionState | None:
        """End a session unless it has ended, and return what became of it, as above."""

    async def subscriptions_of(self, stripe_customer_id: str) -> list[Subscription]:
        """Return the customer's newest 100 subscriptions, ended ones included."""

    async def delete_customer(self, stripe_customer_id: str) -> None:
        """Cancel all that the customer has subscribed to, at once, and delete them for good."""

    async def aclose(self) -> None:
        """Close the connections."""


class Stripe(Payments):
    """Stripe over HTTPS, or the emulator over HTTP."""

    def __init__(self, key: str, *, api_base: str | None, pro_price_id: str) -> None:
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_S)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=1,
            http_client=self._http,
        )
        self._pro_price_id = pro_price_id

    @override
    async def create_customer(self, user_id: UUID, *, idempotency_key: str) -> str:
        try:
            # Nothing that may change: the same key must always come with the same parameters.
            created = await self._client.v1.customers.create_async(
                {"metadata": {"user_id": str(user_id)}}, {"idempotency_key": idempotency_key}
            )
        except stripe.StripeError as exc:
            raise _translated(exc) from exc
        return created.id

    @override
    async def describe_customer(self, customer: Customer) -> None:
        known = {"email": customer.email, "phone": customer.phone, "name": customer.name}
        params: Any = {key: value for key, value in known.items() if value}
        if not params or customer.stripe_customer_id is None:
            return
        try:
            await self._client.v1.customers.update_async(customer.stripe_customer_id, params)
        except stripe.StripeError as exc:
            raise _translated(exc) from exc

    @override
    async def open_checkout(
        self, customer: Customer, *, success_url: str, cancel_url: str, idempotency_key: str
    ) -> Checkout:
        user_id = str(customer.user_id)
        params: Any = {
            "mode": "subscription",
            "customer": customer.stripe_customer_id,
            "client_reference_id": user_id,
            "line_items": [{"price": self._pro_price_id, "quantity": 1}],
            "subscription_data": {"metadata": {"user_id": user_id}},
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        try:
            session = await self._client.v1.checkout.sessions.create_async(
                params, {"idempotency_key": idempotency_key}
            )
        except stripe.StripeError as exc:
            raise _translated(exc) from exc
        if session.url is None:
            raise BillingUnavailableError("Stripe gave no page to pay on; try again", answered=True)
        return Checkout(session.id, session.url, _instant(session.expires_at))

    @override
    async def session_state(self, session_id: str) -> SessionState | None:
        try:
            session = await self._client.v1.checkout.sessions.retrieve_async(session_id)
        except stripe.InvalidRequestError as exc:
            if exc.http_status == 404:
                return None
            raise _translated(exc) from exc
        except stripe.StripeError as exc:
            raise _translated(exc) from exc
        return _session_state(session)

    @override
    async def expire_session(self, session_id: str) -> SessionState | None:
        try:
            session = await self._client.v1.checkout.sessions.expire_async(session_id)
        except stripe.InvalidRequestError as exc:
            state = await self.session_state(session_id)
            if state is not None and state.status == "open":
                raise _translated(exc) from exc
            return state  # it had ended a moment before
        except stripe.StripeError as exc:
            raise _translated(exc) from exc
        return _session_state(session)

    @override
    async def subscriptions_of(self, stripe_customer_id: str) -> list[Subscription]:
        try:
            listed = await self._client.v1.subscriptions.list_async(
                {"customer": stripe_customer_id, "status": "all", "limit": 100}
            )
        except stripe.InvalidRequestError as exc:
            if exc.code == "resource_missing":  # a deleted customer has none
                return []
            raise _translated(exc) from exc
        except stripe.StripeError as exc:
            raise _translated(exc) from exc
        return [_subscription(each) for each in listed.data]

    @override
    async def delete_customer(self, stripe_customer_id: str) -> None:
        try:
            await self._client.v1.customers.delete_async(stripe_customer_id)
        except stripe.InvalidRequestError as exc:
            if exc.code != "resource_missing":  # that one was deleted before
                raise _translated(exc) from exc
        except stripe.StripeError as exc:
            raise _translated(exc) from exc

    @override
    async def aclose(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call] # as the SDK has it


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
    return StripeEvent(event_id, kind, _text(customer_id), body)


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _session_state(session: stripe.checkout.Session) -> SessionState:
    # Stripe's words; the SDK's type is any string.
    status = cast("Literal['open', 'complete', 'expired']", session.status)
    return SessionState(status, _customer_id(session.customer))


def _customer_id(customer: str | stripe.Customer | None) -> str | None:
    return customer if isinstance(customer, str | None) else customer.id


def _subscription(it: stripe.Subscription) -> Subscription:
    items = it["items"].data
    ends_at = it.cancel_at
    if ends_at is None and it.cancel_at_period_end:
        ends_at = max(item.current_period_end for item in items)
    return Subscription(
        id=it.id,
        status=it.status,
        period_start=_instant(max(item.current_period_start for item in items)),
        period_end=_instant(max(item.current_period_end for item in items)),
        ends_at=None if ends_at is None else _instant(ends_at),
        price_ids=frozenset(item.price.id for item in items),
    )


def _instant(unix_time: int) -> datetime:
    return datetime.fromtimestamp(unix_time, UTC)


def _translated(exc: stripe.StripeError) -> BillingUnavailableError:
    # A key is good for one outcome, so it matters whether Stripe has told us the outcome.
    answered = exc.http_status is not None and exc.http_status not in _NOT_KEPT
    headers = cast("Mapping[str, str]", exc.headers or {})
    extra = {"stripe_request_id": headers["request-id"]} if "request-id" in headers else None
    if isinstance(exc, stripe.InvalidRequestError) and (exc.code, exc.param) in {
        ("resource_missing", "customer"),
        ("resource_missing", "id"),  # where it is part of the path
    }:
        return CustomerGoneError("the payment could not be prepared; try again", answered=True)
    return BillingUnavailableError(
        "Stripe does not answer as it should; try again in a few seconds",
        answered=answered,
        extra=extra,
    )

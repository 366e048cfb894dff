"""The connection to Stripe, and what its refusals mean to us."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast

import stripe

from services.billing.errors import BillingUnavailableError, CustomerGoneError

TIMEOUT_S = 4.0
"""Seconds that Stripe gets to connect, and again to answer; a failed call is tried twice."""

# What Stripe does not keep under an idempotency key: another call in progress, too many calls.
_NOT_KEPT = {409, 429}


class StripeConnection:
    """Stripe over HTTPS, or the emulator over HTTP."""

    def __init__(self, key: str, *, api_base: str | None) -> None:
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_S)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=1,
            http_client=self._http,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call] # as the SDK has it


@contextmanager
def translated() -> Iterator[None]:
    """Turn the SDK's exceptions into ours.

    Raises:
        CustomerGoneError: the customer was deleted at Stripe.
        BillingUnavailableError: Stripe gave no usable answer.
    """
    try:
        yield
    except stripe.StripeError as exc:
        raise _translated(exc) from exc


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


def instant(unix_time: int) -> datetime:
    """Return the moment, UTC."""
    return datetime.fromtimestamp(unix_time, UTC)

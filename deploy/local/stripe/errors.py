"""Refusals in the shape of https://docs.stripe.com/api/errors."""

from typing import Any

JSON = dict[str, Any]


class StripeError(Exception):
    """A refusal; `status` decides which exception the SDK raises.

    Attributes:
        status: the HTTP status.
        kind: Stripe's `type`, such as `invalid_request_error`.
        code: Stripe's machine-readable `code`, if it has one.
        decline_code: what the card's issuer said, if it was a card.
        param: the parameter at fault in bracket notation, if one is.
    """

    status = 400
    kind = "invalid_request_error"
    code: str | None = None
    decline_code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code

    def body(self, request_id: str) -> JSON:
        """Return the response body; `request_log_url` is left out, there is no such log."""
        error: JSON = {"type": self.kind, "message": self.message, "request_id": request_id}
        if self.code:
            error["code"] = self.code
        if self.param:
            error["param"] = self.param
        if self.decline_code:
            error["decline_code"] = self.decline_code
        return {"error": error}


class InvalidRequestError(StripeError):
    """A parameter is missing, unknown or has a wrong value."""


class NotFoundError(StripeError):
    """No such object, or no such URL."""

    status = 404
    code = "resource_missing"


class UnauthenticatedError(StripeError):
    """The request carries no test key."""

    status = 401


class IdempotencyError(StripeError):
    """An idempotency key came back with other parameters."""

    kind = "idempotency_error"


class CardError(StripeError):
    """The card was declined."""

    status = 402
    kind = "card_error"
    code = "card_declined"
    decline_code = "generic_decline"


class ConflictError(StripeError):
    """Another request holds the object."""

    status = 409
    code = "lock_timeout"


class RateLimitedError(StripeError):
    """Too many requests."""

    status = 429
    code = "rate_limit"


class ServerError(StripeError):
    """Stripe itself is broken; injected only."""

    status = 500
    kind = "api_error"


class ServiceUnavailableError(ServerError):
    """Stripe cannot answer now; injected only."""

    status = 503


def no_such(noun: str, object_id: str, *, param: str = "id") -> NotFoundError:
    """Return the 404 for an id that names nothing.

    Args:
        noun: what was looked for, in words.
        object_id: the id as it came.
        param: the parameter that carried the id.
    """
    return NotFoundError(
        f"No such {noun}: '{object_id}'. Ids of real Stripe mean nothing to the emulator.",
        param=param,
    )

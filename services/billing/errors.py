"""Billing's errors; `code` is what clients match on."""

from collections.abc import Mapping
from typing import Any

from libs.common.errors import (
    ConflictError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    ValidationFailedError,
)


class LiveSubscriptionError(ConflictError):
    """The user has a subscription that is not over; `portal_url` is where to manage it."""


class AlreadySubscribedError(LiveSubscriptionError):
    """The user is Pro already."""

    code = "already_subscribed"


class SubscriptionExistsError(LiveSubscriptionError):
    """The user has a subscription that is neither in force nor over."""

    code = "subscription_exists"


class PaymentOverdueError(LiveSubscriptionError):
    """The user has a subscription that waits for a payment."""

    code = "payment_overdue"


class NotACustomerError(ConflictError):
    """The user has never begun to subscribe."""

    code = "not_a_customer"


class NothingToCancelError(ConflictError):
    """The user has no subscription that could be cancelled."""

    code = "nothing_to_cancel"


class NothingToResumeError(ConflictError):
    """The user has no subscription that could go on."""

    code = "nothing_to_resume"


class IntervalNotOfferedError(ValidationFailedError):
    """Pro is not sold by this interval."""

    code = "interval_not_offered"


class BillingUnavailableError(UnavailableError):
    """Billing can give no answer for now.

    Attributes:
        answered: Stripe refused, and would repeat that to the same idempotency key; false means
            that the call may have taken effect, and that the same key must be used again.
    """

    code = "billing_unavailable"

    def __init__(
        self, detail: str, *, answered: bool = False, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, extra=extra, headers={"Retry-After": "5"})
        self.answered = answered


class CancellationPendingError(BillingUnavailableError):
    """What a deleted user pays for is not cancelled yet."""

    patient = True  # no subscription may outlive its user


class CustomerGoneError(BillingUnavailableError):
    """Stripe no longer has the customer."""


class GrantNotFoundError(NotFoundError):
    """The user was granted nothing of that id."""

    code = "grant_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such grant; see GET /admin/user/{id}/grant")


class WebhookDisabledError(NotFoundError):
    """No webhook secret is set, so nothing that arrives could be believed."""

    code = "webhook_disabled"


class BadSignatureError(MalformedError):
    """The webhook was not signed by Stripe, or not lately."""

    code = "bad_signature"


class MalformedEventError(MalformedError):
    """The webhook's body is no Stripe event."""

    code = "malformed_event"


class NoStripeCustomerError(NotFoundError):
    """Stripe does not know this user, who never began to buy."""

    code = "no_stripe_customer"

    def __init__(self) -> None:
        super().__init__("Stripe does not know this user: they never began to buy anything")


class StripeEventNotFoundError(NotFoundError):
    """No event with this id waits to be applied."""

    code = "stripe_event_not_found"

    def __init__(self) -> None:
        super().__init__("no event with this id waits: it was applied, or never came")

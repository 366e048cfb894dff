"""What billing asks of Stripe."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.billing.models import (
    Checkout,
    Customer,
    Invoice,
    Offer,
    SessionState,
    Subscription,
)
from services.billing.timeline_models import Refund


class Payments(Protocol):
    """Every method raises `BillingUnavailableError`."""

    async def create_customer(self, user_id: UUID, *, idempotency_key: str) -> str:
        """Return the id of a new Stripe customer, who has no more than our id."""

    async def describe_customer(self, customer: Customer) -> None:
        """Tell Stripe how the customer can be reached, as far as we know.

        Raises:
            CustomerGoneError: the customer was deleted at Stripe.
        """

    async def delete_customer(self, stripe_customer_id: str) -> None:
        """Cancel all that the customer has subscribed to, at once, and delete them for good."""

    async def open_portal(self, stripe_customer_id: str, *, return_url: str) -> str:
        """Return the URL of a page on which the customer manages what they pay for.

        Raises:
            CustomerGoneError: the customer was deleted at Stripe.
        """

    async def open_checkout(
        self,
        customer: Customer,
        offer: Offer,
        *,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
    ) -> Checkout:
        """Open a session in which the customer may buy what is offered.

        Raises:
            CustomerGoneError: the customer was deleted at Stripe.
        """

    async def session_state(self, session_id: str) -> SessionState | None:
        """Return what became of a session, None if Stripe does not know it."""

    async def expire_session(self, session_id: str) -> SessionState | None:
        """End a session unless it has ended, and return what became of it, as above."""

    async def subscriptions_of(self, stripe_customer_id: str) -> list[Subscription]:
        """Return the customer's newest 100 subscriptions, ended ones included."""

    async def end_with_period(self, subscription_id: str) -> None:
        """Let a subscription that is alive end with its current period; as often as you like."""

    async def keep(self, subscription_id: str) -> None:
        """Take back whatever end is planned for a subscription that is alive."""

    async def invoices_of(self, stripe_customer_id: str) -> list[Invoice]:
        """Return the customer's newest 100 invoices and what became of them; no drafts."""

    async def cancel_subscription(self, subscription_id: str) -> None:
        """End a subscription at once, unless it has ended."""

    async def refund_payments(self, subscription_id: str, *, since: datetime) -> list[Refund]:
        """Give back all that was paid for a subscription by invoices made since then, each once."""

    async def aclose(self) -> None:
        """Close the connections."""

"""Stripe's checkout sessions."""

from typing import Any, Literal, cast

import stripe

from services.billing.errors import BillingUnavailableError
from services.billing.models import Checkout, Customer, Offer, SessionState
from services.billing.payments.connection import StripeConnection, instant, translated


class Checkouts(StripeConnection):
    """The part of `Payments` that is about checkout sessions."""

    async def open_checkout(
        self,
        customer: Customer,
        offer: Offer,
        *,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
    ) -> Checkout:
        """Open a session."""
        user_id = str(customer.user_id)
        subscription: dict[str, Any] = {"metadata": {"user_id": user_id}}
        params: Any = {
            "mode": "subscription",
            "customer": customer.stripe_customer_id,
            "client_reference_id": user_id,
            "line_items": [{"price": offer.price_id, "quantity": 1}],
            "subscription_data": subscription,
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        if offer.trial_days:
            subscription["trial_period_days"] = offer.trial_days
        if offer.coupon_id is not None:
            params["discounts"] = [{"coupon": offer.coupon_id}]
        elif offer.promotion_codes:
            params["allow_promotion_codes"] = True
        with translated():
            session = await self._client.v1.checkout.sessions.create_async(
                params, {"idempotency_key": idempotency_key}
            )
        if session.url is None:
            raise BillingUnavailableError("Stripe gave no page to pay on; try again", answered=True)
        return Checkout(session.id, session.url, instant(session.expires_at), offer.price_id)

    async def session_state(self, session_id: str) -> SessionState | None:
        """Return what became of a session."""
        with translated():
            try:
                session = await self._client.v1.checkout.sessions.retrieve_async(session_id)
            except stripe.InvalidRequestError as exc:
                if exc.http_status == 404:
                    return None
                raise
        return _session_state(session)

    async def expire_session(self, session_id: str) -> SessionState | None:
        """End a session."""
        with translated():
            try:
                session = await self._client.v1.checkout.sessions.expire_async(session_id)
            except stripe.InvalidRequestError:
                state = await self.session_state(session_id)
                if state is not None and state.status == "open":
                    raise
                return state  # it had ended a moment before
        return _session_state(session)


def _session_state(session: stripe.checkout.Session) -> SessionState:
    # Stripe's words; the SDK's type is any string.
    status = cast("Literal['open', 'complete', 'expired']", session.status)
    return SessionState(status, _customer_id(session.customer))


def _customer_id(customer: str | stripe.Customer | None) -> str | None:
    return customer if isinstance(customer, str | None) else customer.id

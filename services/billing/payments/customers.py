"""Stripe's customers."""

from typing import Any
from uuid import UUID

import stripe

from services.billing.models import Customer
from services.billing.payments.connection import StripeConnection, translated


class Customers(StripeConnection):
    """The part of `Payments` that is about customers."""

    async def create_customer(self, user_id: UUID, *, idempotency_key: str) -> str:
        """Return the id of a new customer."""
        with translated():
            # Nothing that may change: the same key must always come with the same parameters.
            created = await self._client.v1.customers.create_async(
                {"metadata": {"user_id": str(user_id)}}, {"idempotency_key": idempotency_key}
            )
        return created.id

    async def describe_customer(self, customer: Customer) -> None:
        """Tell Stripe how the customer can be reached."""
        known = {"email": customer.email, "phone": customer.phone, "name": customer.name}
        params: Any = {key: value for key, value in known.items() if value}
        if not params or customer.stripe_customer_id is None:
            return
        with translated():
            await self._client.v1.customers.update_async(customer.stripe_customer_id, params)

    async def delete_customer(self, stripe_customer_id: str) -> None:
        """Cancel everything and delete the customer."""
        with translated():
            try:
                await self._client.v1.customers.delete_async(stripe_customer_id)
            except stripe.InvalidRequestError as exc:
                if exc.code != "resource_missing":  # that one was deleted before
                    raise

    async def open_portal(self, stripe_customer_id: str, *, return_url: str) -> str:
        """Return the URL of a portal session."""
        with translated():
            session = await self._client.v1.billing_portal.sessions.create_async(
                {"customer": stripe_customer_id, "return_url": return_url}
            )
        return session.url

"""Stripe's subscriptions."""

from typing import Any

import stripe

from services.billing.models import Subscription
from services.billing.payments.connection import StripeConnection, instant, translated


class Subscriptions(StripeConnection):
    """The part of `Payments` that is about subscriptions."""

    async def subscriptions_of(self, stripe_customer_id: str) -> list[Subscription]:
        """Return the customer's subscriptions."""
        with translated():
            try:
                listed = await self._client.v1.subscriptions.list_async(
                    {"customer": stripe_customer_id, "status": "all", "limit": 100}
                )
            except stripe.InvalidRequestError as exc:
                if exc.code == "resource_missing":  # a deleted customer has none
                    return []
                raise
        return [_subscription(each) for each in listed.data]

    async def end_with_period(self, subscription_id: str) -> None:
        """Plan its end."""
        with translated():
            await self._client.v1.subscriptions.update_async(
                subscription_id, {"cancel_at_period_end": True}
            )

    async def keep(self, subscription_id: str) -> None:
        """Withdraw its end."""
        with translated():
            it = await self._client.v1.subscriptions.retrieve_async(subscription_id)
            # Stripe refuses both at once, and the portal plans an end in either way.
            params: Any = {"cancel_at_period_end": False}
            if it.cancel_at is not None and not it.cancel_at_period_end:
                params = {"cancel_at": ""}
            await self._client.v1.subscriptions.update_async(subscription_id, params)


def _subscription(it: stripe.Subscription) -> Subscription:
    items = it["items"].data
    ends_at = it.cancel_at
    if ends_at is None and it.cancel_at_period_end:
        ends_at = max(item.current_period_end for item in items)
    return Subscription(
        id=it.id,
        status=it.status,
        period_start=instant(max(item.current_period_start for item in items)),
        period_end=instant(max(item.current_period_end for item in items)),
        ends_at=None if ends_at is None else instant(ends_at),
        created_at=instant(it.created),
        price_ids=frozenset(item.price.id for item in items),
    )

"""Ending a subscription that is one too many, and giving back what was paid for it."""

from datetime import datetime

import stripe

from services.billing.payments.connection import StripeConnection, translated
from services.billing.timeline_models import Refund

# Refusals after which the money is not ours to give back: it was, or the bank decides.
_FINAL = {"charge_already_refunded", "charge_disputed", "payment_intent_unexpected_state"}


class Duplicates(StripeConnection):
    """The part of `Payments` that is about subscriptions beside another one."""

    async def cancel_subscription(self, subscription_id: str) -> None:
        """End a subscription at once."""
        with translated():
            try:
                await self._client.v1.subscriptions.cancel_async(subscription_id)
            except stripe.InvalidRequestError as exc:
                if exc.code != "resource_missing":  # it has ended before
                    raise

    async def refund_payments(self, subscription_id: str, *, since: datetime) -> list[Refund]:
        """Give back what was paid."""
        with translated():
            invoices = await self._client.v1.invoices.list_async(
                {
                    "subscription": subscription_id,
                    "status": "paid",
                    "created": {"gte": int(since.timestamp())},
                    "expand": ["data.payments"],
                    "limit": 100,
                }
            )
            paid = [
                payment
                for invoice in invoices.data
                for payment in (invoice.payments.data if invoice.payments else [])
                if payment.status == "paid"
            ]
            return [await self._refund(payment) for payment in paid]

    async def _refund(self, paid: stripe.InvoicePayment) -> Refund:
        """Give a payment back, once; whatever was given back of it before stays so."""
        intent = paid.payment.payment_intent
        payment_id = intent if isinstance(intent, str) else intent.id if intent else paid.id
        if intent is None:  # paid outside of Stripe, which cannot give it back
            return Refund(payment_id, 0, paid.currency, refused="no_payment_intent")
        try:
            refund = await self._client.v1.refunds.create_async(
                {"payment_intent": payment_id, "reason": "duplicate"},
                {"idempotency_key": f"duplicate-{payment_id}"},
            )
        except stripe.InvalidRequestError as exc:
            if exc.code not in _FINAL:
                raise
            return Refund(payment_id, 0, paid.currency, refused=exc.code)
        return Refund(payment_id, refund.amount, refund.currency)

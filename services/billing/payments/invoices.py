"""Stripe's invoices, and the charges that paid them."""

from collections.abc import Iterable

import stripe

from services.billing.models import Invoice
from services.billing.payments.connection import StripeConnection, instant, translated

_DRAFT = (None, "draft")


class Invoices(StripeConnection):
    """The part of `Payments` that is about invoices."""

    async def invoices_of(self, stripe_customer_id: str) -> list[Invoice]:
        """Return the customer's invoices."""
        with translated():
            try:
                listed = await self._client.v1.invoices.list_async(
                    {"customer": stripe_customer_id, "limit": 100, "expand": ["data.payments"]}
                )
            except stripe.InvalidRequestError as exc:
                if exc.code == "resource_missing":  # a deleted customer has none
                    return []
                raise
            shown = [each for each in listed.data if each.status not in _DRAFT]
            if not any(_intents(each) for each in shown):
                return [_invoice(each, [], {}) for each in shown]
            # An invoice knows neither refunds nor disputes; the charges for it do.
            charges = await self._client.v1.charges.list_async(
                {"customer": stripe_customer_id, "limit": 100}
            )
            disputes = {
                each.id: await self._dispute_status(each.id)
                for each in charges.data
                if each.disputed
            }
        return [_invoice(each, charges.data, disputes) for each in shown]

    async def _dispute_status(self, charge_id: str) -> str | None:
        listed = await self._client.v1.disputes.list_async({"charge": charge_id, "limit": 1})
        return listed.data[0].status if listed.data else None


def _invoice(
    it: stripe.Invoice, charges: Iterable[stripe.Charge], disputes: dict[str, str | None]
) -> Invoice:
    intents = _intents(it)
    ours = [each for each in charges if _id(each.payment_intent) in intents]
    disputed = [disputes[each.id] for each in ours if each.id in disputes]
    details = it.parent.subscription_details if it.parent else None
    # The invoice's own period is the one before, of what is paid for afterwards.
    last = max(it.lines.data, key=lambda line: line.period.end, default=None)
    return Invoice(
        id=it.id,
        subscription_id=_id(details.subscription) if details else None,
        number=it.number,
        status=str(it.status),
        currency=it.currency,
        total=it.total,
        amount_paid=it.amount_paid,
        refunded_amount=sum(each.amount_refunded for each in ours),
        dispute_status=disputed[0] if disputed else None,
        period_start=instant(last.period.start if last else it.period_start),
        period_end=instant(last.period.end if last else it.period_end),
        created_at=instant(it.created),
        hosted_url=it.hosted_invoice_url,
        pdf_url=it.invoice_pdf,
        payment_intent_ids=intents,
    )


def _intents(it: stripe.Invoice) -> tuple[str, ...]:
    ids = (_id(each.payment.payment_intent) for each in it.payments.data) if it.payments else ()
    return tuple(each for each in ids if each is not None)


def _id(
    it: str | stripe.PaymentIntent | stripe.Subscription | None,
) -> str | None:
    return it if isinstance(it, str | None) else it.id

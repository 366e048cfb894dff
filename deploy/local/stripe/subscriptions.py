"""The life of a subscription, from its first invoice to its end.

The rule for a card that fails: the invoice stays open and the subscription is `past_due`; it is
tried again every 3 days, and after the 4th failure the subscription is `unpaid`; when the period
ends it is canceled. A first payment that fails leaves it `incomplete`, for 23 hours.
"""

from collections.abc import Sequence

from deploy.local.stripe import payments
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects import coupon as coupons
from deploy.local.stripe.objects import invoice as invoices
from deploy.local.stripe.objects import subscription as subscriptions
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.periods import period_end

DAY_S = 86_400
RETRY_EVERY_S = 3 * DAY_S
MAX_ATTEMPTS = 4
ENDED = ("canceled", "incomplete_expired")


def start(
    account: Account,
    *,
    customer: JSON,
    lines: Sequence[tuple[JSON, int]],
    metadata: dict[str, str],
    trial_days: int | None = None,
    coupon_id: str | None = None,
    pay: bool = True,
) -> JSON:
    """Make a subscription with its first invoice, and announce both.

    Args:
        account: whose it is.
        customer: who subscribes.
        lines: recurring prices of one currency, and quantities.
        metadata: of the subscription.
        trial_days: begin with so many free days; nothing is charged for them.
        coupon_id: take this off its first invoice, or off all.
        pay: try to charge the card; without, it stays `incomplete` unless in trial.

    Returns:
        The subscription: `trialing`, `active`, or `incomplete` if the card failed.
    """
    now = account.now
    subscription_id = new_id("sub")
    items = [
        subscriptions.item(
            new_id("si"), subscription_id=subscription_id, price=price, quantity=n, created=now
        )
        for price, n in lines
    ]
    body = subscriptions.subscription(
        subscription_id, customer_id=customer["id"], items=items, created=now
    )
    body["metadata"] = metadata
    if coupon_id is not None:
        discount = coupons.discount(
            new_id("di"), coupon_id=coupon_id, subscription=body, created=now
        )
        account.save(discount)
        body["discounts"] = [discount["id"]]
    works = account.card_works(customer["id"])
    if trial_days:
        body["status"] = "trialing"
        body["trial_start"], body["trial_end"] = now, now + trial_days * DAY_S
        body["billing_cycle_anchor"] = body["trial_end"]
        _set_period(body, now, body["trial_end"])
    else:
        body["status"] = "active" if pay and works else "incomplete"
        _set_period(body, now)
    invoice = _new_invoice(account, body, customer, "subscription_create")
    account.announce(body, "customer.subscription.created")
    _announce_invoice(account, invoice)
    if pay or trial_days:
        _charge(account, invoice, works=works)
    return body


def look_at(account: Account, body: JSON) -> None:
    """Do what is due to a live subscription at this moment: expire, end, or renew it."""
    now = account.now
    if body["status"] == "incomplete":
        body["status"] = "incomplete_expired"
        body["ended_at"] = now
        _close_invoice(account, body)
        account.announce(body, "customer.subscription.updated")
    elif body["cancel_at"] is not None and body["cancel_at"] <= now:
        end(account, body, reason="cancellation_requested")
    elif body["status"] == "unpaid":
        end(account, body, reason="payment_failed")
    else:
        _renew(account, body)


def end(account: Account, body: JSON, *, reason: str) -> JSON:
    """Cancel now and for good; nothing more is collected for it."""
    body["status"] = "canceled"
    body["ended_at"] = account.now
    body["canceled_at"] = body["canceled_at"] or account.now
    body["cancellation_details"]["reason"] = reason
    _close_invoice(account, body)
    account.announce(body, "customer.subscription.deleted")
    return body


def plan_end(account: Account, body: JSON, *, at: int | None) -> None:
    """Set or, with None, withdraw the moment at which the subscription will end; no event."""
    body["cancel_at"] = at
    body["cancel_at_period_end"] = at == period_of(body)[1]
    body["canceled_at"] = account.now if at else None
    body["cancellation_details"]["reason"] = "cancellation_requested" if at else None


def period_of(body: JSON) -> tuple[int, int]:
    """Return the Unix times at which the current period begins and ends."""
    first = body["items"]["data"][0]
    return first["current_period_start"], first["current_period_end"]


def switch_price(account: Account, body: JSON, item: JSON, price: JSON) -> None:
    """Put another price on an item; no event, and never a proration.

    The same interval: it counts from the next period on. Another interval: a period begins now
    and is charged in full.
    """
    same = all(
        item["price"]["recurring"][key] == price["recurring"][key]
        for key in ("interval", "interval_count")
    )
    fresh = subscriptions.item(
        item["id"],
        subscription_id=body["id"],
        price=price,
        quantity=item["quantity"],
        created=item["created"],
    )
    item |= {key: fresh[key] for key in ("price", "plan")}
    if not same and body["status"] in ("active", "past_due"):
        body["billing_cycle_anchor"] = account.now
        _bill(account, body, account.now, "subscription_update")


def retry(account: Account, invoice: JSON) -> None:
    """Try to collect an open invoice, and let its subscription's status follow."""
    body = account.get("subscription", invoice["lines"]["data"][0]["subscription"])
    works = account.card_works(body["customer"])
    _charge(account, invoice, works=works)
    if works and body["status"] in ("past_due", "unpaid", "incomplete"):
        body["status"] = "active"
    elif not works and body["status"] == "past_due" and invoice["attempt_count"] >= MAX_ATTEMPTS:
        body["status"] = "unpaid"
    account.announce(body, "customer.subscription.updated")


def set_card(account: Account, customer_id: str, *, works: bool) -> None:
    """Give the customer a card that works or fails; a working one pays open invoices at once."""
    account.set_card(customer_id, works=works)
    if works:
        for body in list(account.store.scan("subscription", {"customer": customer_id})):
            invoice = account.get("invoice", body["latest_invoice"])
            if body["status"] not in ENDED and invoice["status"] == "open":
                retry(account, invoice)


def _renew(account: Account, body: JSON) -> None:
    if body["status"] == "trialing":
        body["status"] = "active"
    _bill(account, body, period_of(body)[1], "subscription_cycle")
    account.announce(body, "customer.subscription.updated")


def _bill(account: Account, body: JSON, period_start: int, reason: str) -> None:
    """Begin a period, make its invoice and charge it; `body` is changed, but not announced."""
    _set_period(body, period_start)
    works = account.card_works(body["customer"])
    invoice = _new_invoice(account, body, account.get("customer", body["customer"]), reason)
    _announce_invoice(account, invoice)
    _charge(account, invoice, works=works)
    body["status"] = "active" if works else "past_due"


def _set_period(body: JSON, start: int, until: int | None = None) -> None:
    for item in body["items"]["data"]:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = start
        item["current_period_end"] = until or period_end(
            start,
            interval=recurring["interval"],
            count=recurring["interval_count"],
            anchor=body["billing_cycle_anchor"],
        )


def _new_invoice(account: Account, body: JSON, customer: JSON, reason: str) -> JSON:
    invoice = invoices.invoice(
        new_id("in"),
        customer=customer,
        subscription=body,
        reason=reason,
        created=account.now,
    )
    for discount_id in list(body["discounts"]):
        _take_off(account, body, invoice, account.get("discount", discount_id))
    hosted = f"{account.base_url}/invoices/{invoice['id']}"
    invoice |= {"hosted_invoice_url": hosted, "invoice_pdf": f"{hosted}?as=pdf"}
    customer["next_invoice_sequence"] += 1
    customer["currency"] = body["currency"]
    account.save(customer)
    body["latest_invoice"] = invoice["id"]
    return invoice


def _take_off(account: Account, body: JSON, invoice: JSON, discount: JSON) -> None:
    coupon = account.get("coupon", discount["source"]["coupon"])
    off = coupons.amount_of(coupon, invoice["total"])
    if off:
        invoices.take_off(invoice, discount["id"], off)
        if coupon["duration"] == "once":
            body["discounts"].remove(discount["id"])


def _announce_invoice(account: Account, invoice: JSON) -> None:
    unknown = ("number", "effective_at", "hosted_invoice_url", "invoice_pdf")
    draft = invoice | {"status": "draft", **dict.fromkeys(unknown)}
    account.announce(draft, "invoice.created")
    account.announce(invoice, "invoice.finalized")


def _charge(account: Account, invoice: JSON, *, works: bool) -> None:
    if invoice["amount_due"]:
        payments.charge(account, invoice, works=works)
    if invoice["amount_due"] and not works:
        invoice["attempted"] = True
        invoice["attempt_count"] += 1
        # The first payment is the person's to repeat; only renewals are tried again unasked.
        again = invoice["attempt_count"] < MAX_ATTEMPTS
        again = again and invoice["billing_reason"] != "subscription_create"
        invoice["next_payment_attempt"] = account.now + RETRY_EVERY_S if again else None
        account.announce(invoice, "invoice.payment_failed")
        return
    invoice["attempted"] = True
    invoice["attempt_count"] += 1 if invoice["amount_due"] else 0
    invoice["amount_paid"] = invoice["amount_due"]
    invoice["amount_remaining"] = 0
    invoice["next_payment_attempt"] = None
    invoice["status"] = "paid"
    invoice["status_transitions"]["paid_at"] = account.now
    account.announce(invoice, "invoice.paid")
    account.announce(invoice, "invoice.payment_succeeded")


def _close_invoice(account: Account, body: JSON) -> None:
    invoice = account.get("invoice", body["latest_invoice"])
    if invoice["status"] == "open":
        invoice["status"] = "void"
        invoice["next_payment_attempt"] = None
        invoice["auto_advance"] = False
        invoice["status_transitions"]["voided_at"] = account.now
        payments.give_up(account, invoice)
        account.announce(invoice, "invoice.voided")

"""The life of a payment: charged, perhaps given back, perhaps disputed.

What real Stripe also keeps of it, payment intents and balance transactions, has ids here at most.
"""

from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON, InvalidRequestError
from deploy.local.stripe.objects import payment as objects
from deploy.local.stripe.objects.wire import new_id

CLOSED = ("won", "lost", "warning_closed")
INQUIRIES = ("warning_needs_response", "warning_under_review", "warning_closed")
"""Statuses of a question by the bank, which takes no money back."""

STATUSES = ("needs_response", "under_review", "won", "lost", *INQUIRIES)


def charge(account: Account, invoice: JSON, *, works: bool) -> None:
    """Charge the card for an open invoice of more than nothing, and announce the charge."""
    link = _link_of(account, invoice)
    if link is None:
        invoice["_payment_intent"] = new_id("pi")
        link = objects.invoice_payment(new_id("inpay"), invoice=invoice, created=account.now)
    body = objects.charge(new_id("ch"), invoice=invoice, works=works, created=account.now)
    if works:
        link |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        link["status_transitions"]["paid_at"] = account.now
    account.save(link)
    account.announce(body, "charge.succeeded" if works else "charge.failed")


def give_up(account: Account, invoice: JSON) -> None:
    """Cancel what was to pay an invoice that is void now."""
    link = _link_of(account, invoice)
    if link is not None:
        link["status"] = "canceled"
        link["status_transitions"]["canceled_at"] = account.now
        account.save(link)


def refund(
    account: Account,
    of: JSON,
    *,
    amount: int | None,
    reason: str | None,
    metadata: dict[str, str],
) -> JSON:
    """Give back `amount` of a charge, all that is left of it by default, and announce it.

    Raises:
        InvalidRequestError: it did not succeed, is disputed, or has less left.
    """
    left = of["amount_captured"] - of["amount_refunded"]
    if of["refunded"]:
        raise InvalidRequestError(
            f"Charge {of['id']} has already been refunded.", code="charge_already_refunded"
        )
    if of["disputed"]:
        raise InvalidRequestError(
            f"Charge {of['id']} has been charged back; a refund of it is not possible.",
            code="charge_disputed",
        )
    if not of["paid"] or (amount or left) > left:
        raise InvalidRequestError(
            f"Refund amount ({amount or left}) is greater than unrefunded amount on charge "
            f"({left}).",
            param="amount",
        )
    body = objects.refund(
        new_id("re"), of=of, amount=amount or left, reason=reason, created=account.now
    )
    body["metadata"] = metadata
    account.announce(body, "refund.created")
    _add_refunded(account, of, body["amount"])
    account.emit("charge.refunded", {"object": of})
    return body


def fail_refund(account: Account, body: JSON) -> None:
    """Let the bank send a refund back; the charge is as if it had not been."""
    if body["status"] == "failed":
        return
    body |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    _add_refunded(account, account.get("charge", body["charge"]), -body["amount"])
    account.announce(body, "refund.failed")


def dispute(account: Account, of: JSON, *, status: str, reason: str) -> JSON:
    """Let the cardholder's bank dispute a charge, once, and announce it.

    Raises:
        InvalidRequestError: it was disputed before, or nothing was paid.
    """
    if of["disputed"] or not of["paid"]:
        raise InvalidRequestError(f"Charge {of['id']} cannot be disputed, or was already.")
    body = objects.dispute(new_id("du"), of=of, status=status, reason=reason, created=account.now)
    of["disputed"] = True
    account.save(of)
    account.announce(body, "charge.dispute.created")
    if status not in INQUIRIES:
        account.emit("charge.dispute.funds_withdrawn", {"object": body})
    return body


def move_dispute(account: Account, body: JSON, *, status: str) -> JSON:
    """Put a dispute into another status and announce what comes of it."""
    was_withdrawn = body["status"] not in INQUIRIES
    body["status"] = status
    account.announce(body, "charge.dispute.updated")
    if status in CLOSED:
        account.emit("charge.dispute.closed", {"object": body})
    if status == "won" and was_withdrawn:
        account.emit("charge.dispute.funds_reinstated", {"object": body})
    return body


def _add_refunded(account: Account, of: JSON, amount: int) -> None:
    of["amount_refunded"] += amount
    of["refunded"] = of["amount_refunded"] == of["amount"]
    account.save(of)


def _link_of(account: Account, invoice: JSON) -> JSON | None:
    return next(account.store.scan("invoice_payment", {"invoice": invoice["id"]}), None)

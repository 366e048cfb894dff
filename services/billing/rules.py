"""What a business person would recognise: who is Pro, and who may subscribe."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from libs.common.events import Plan
from services.billing.errors import (
    AlreadySubscribedError,
    PaymentOverdueError,
    SubscriptionExistsError,
)
from services.billing.models import Invoice, Standing, Subscription
from services.billing.timeline_models import Duplicate

# Best first; what is not listed is worse than all of these.
_STATUSES = (
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "paused",
    "incomplete",
    "canceled",
    "incomplete_expired",
)


_CHANGEABLE = {"active", "trialing", "past_due", "unpaid", "paused"}
"""In these Stripe lets a subscription's end be planned; an incomplete one expires by itself."""

_TAKEN_BACK = {"needs_response", "under_review", "lost"} | {
    "appeal_needs_response",
    "appeal_under_review",
}
"""Disputes in which the money is not ours; a bank's mere question (`warning_...`) takes none."""

_OVER = {"none", "canceled", "incomplete_expired"}
"""After these nothing can come back to life and be charged."""

_PAID = {"active", "trialing"}

_WHY = {
    "none": "nothing was ever bought",
    "active": "the subscription is paid",
    "trialing": "the subscription is in its trial",
    "past_due": "the renewal could not be charged, and the time of grace is over",
    "unpaid": "no attempt to charge the renewal has succeeded",
    "paused": "the subscription is paused",
    "incomplete": "the first payment is not confirmed",
    "incomplete_expired": "the first payment was never confirmed",
    "canceled": "the subscription has ended",
}


def pro_subscriptions(
    subscriptions: Iterable[Subscription], *, price_ids: Collection[str]
) -> list[Subscription]:
    """Return those that are for Pro; the account may sell other things too."""
    return [each for each in subscriptions if not each.price_ids.isdisjoint(price_ids)]


def alive(subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Return those that charge the customer, or may do so again."""
    return [each for each in subscriptions if each.status not in _OVER]


def duplicates(
    subscriptions: Iterable[Subscription], *, price_ids: Collection[str]
) -> list[Duplicate]:
    """Return which of several live subscriptions are too many.

    The oldest that is alive and paid stays, whatever else may be charged goes. Nothing is too many
    while nothing is paid, for any of them may be the one that will be; nor is what is for other
    things as well, which is not ours to end.

    Args:
        subscriptions: those for Pro, in any order.
        price_ids: the prices of Pro.
    """
    live = alive(subscriptions)
    paid = [each for each in live if each.status in _PAID and not each.is_taken_back]
    if not paid:
        return []
    kept = min(paid, key=lambda each: (each.created_at, each.id))
    return [
        Duplicate(each.id, kept.id, since=max(kept.created_at, each.created_at))
        for each in live
        if each is not kept and each.price_ids <= set(price_ids)
    ]


def mark_taken_back(
    subscriptions: Iterable[Subscription], invoices: Collection[Invoice]
) -> list[Subscription]:
    """Mark those whose payment for the current period was given or charged back in full.

    The newest paid invoice that reaches into the period counts: of a change of price in its midst
    there are two.
    """
    return [
        replace(each, is_taken_back=paid is not None and is_taken_back(paid))
        for each in subscriptions
        for paid in [_paid_by(each, invoices)]
    ]


def is_taken_back(invoice: Invoice) -> bool:
    """Return whether what was paid is not ours any more; nothing was paid for a trial."""
    refunded = 0 < invoice.amount_paid <= invoice.refunded_amount
    return refunded or invoice.dispute_status in _TAKEN_BACK


def changeable(standing: Standing) -> str | None:
    """Return the id of the subscription whose end can be planned or taken back, if there is one."""
    return standing.stripe_subscription_id if standing.status in _CHANGEABLE else None


def effective(
    subscriptions: Iterable[Subscription], *, now: datetime, grace: timedelta
) -> Standing:
    """Return what all of a customer's subscriptions amount to: the best of them counts.

    Args:
        subscriptions: in any order, ended ones included.
        now: UTC.
        grace: how long Pro outlives the start of a period whose payment failed.
    """
    best = max(
        subscriptions,
        key=lambda each: (_plan(each, now, grace) == "pro", -_rank(each.status), each.period_end),
        default=None,
    )
    if best is None:
        return Standing()
    return Standing(
        plan=_plan(best, now, grace),
        status=best.status,
        stripe_subscription_id=best.id,
        current_period_end=best.period_end,
        cancel_at_period_end=best.ends_at is not None and best.ends_at <= best.period_end,
    )


def ensure_may_subscribe(standing: Standing) -> None:
    """Refuse to sell a second subscription beside a live one.

    Raises:
        AlreadySubscribedError: the user is Pro.
        PaymentOverdueError: the user's subscription waits for a payment.
        SubscriptionExistsError: it is in any other state in which it may be charged again.
    """
    if standing.plan == "pro":
        raise AlreadySubscribedError("you are on the Pro plan already; there is nothing to pay")
    if standing.status in {"past_due", "unpaid"}:
        raise PaymentOverdueError(
            "your Pro subscription has an unpaid invoice; pay it in the portal (POST "
            "/subscription/portal) or by the link in Stripe's e-mail"
        )
    if standing.status == "incomplete":
        raise PaymentOverdueError(
            "your first payment is not confirmed yet; confirm it by the link in Stripe's e-mail, "
            "or subscribe again tomorrow, when it has expired"
        )
    if standing.status in {"active", "trialing"}:
        raise SubscriptionExistsError(
            "the last payment for your Pro subscription was refunded or is disputed; it is over "
            "with its period, so cancel it and subscribe again then"
        )
    if standing.status not in _OVER:
        raise SubscriptionExistsError(
            f"your Pro subscription is {standing.status}; have it go on, or cancel it, in the "
            "portal (POST /subscription/portal)"
        )


def _paid_by(subscription: Subscription, invoices: Iterable[Invoice]) -> Invoice | None:
    found = (
        each
        for each in invoices
        if each.subscription_id == subscription.id
        and each.status == "paid"
        and each.period_start < subscription.period_end
        and each.period_end > subscription.period_start
    )
    return max(found, key=lambda each: each.created_at, default=None)


def why(standing: Standing) -> str:
    """Return in a sentence what the plan follows from."""
    if standing.status == "past_due" and standing.plan == "pro":
        return "the renewal could not be charged; Pro stays during the time of grace"
    if standing.status in _PAID and standing.plan == "basic":
        return "what was paid for the present period was given or charged back"
    return _WHY.get(standing.status, f"Stripe calls the subscription {standing.status}")


def _plan(subscription: Subscription, now: datetime, grace: timedelta) -> Plan:
    if subscription.is_taken_back:
        return "basic"
    match subscription.status:
        case "active" | "trialing":
            return "pro"
        # The period has begun already when its payment fails: it was paid until its start.
        case "past_due" if now < subscription.period_start + grace:
            return "pro"
        case _:
            return "basic"


def _rank(status: str) -> int:
    return _STATUSES.index(status) if status in _STATUSES else len(_STATUSES)

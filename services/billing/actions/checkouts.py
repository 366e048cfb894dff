"""Buying Pro: a checkout session, and what became of it."""

import asyncio
from datetime import timedelta
from uuid import UUID

from libs.common.clock import utc_now
from libs.common.db import Connection
from services.billing import rules
from services.billing.actions import portal, syncing
from services.billing.actions.holding import user_held
from services.billing.errors import (
    BillingUnavailableError,
    CustomerGoneError,
    IntervalNotOfferedError,
    LiveSubscriptionError,
)
from services.billing.models import Checkout, Customer, Interval, Offer
from services.billing.resources import Resources
from services.billing.store import checkouts, customers, invoices, standings

SUBSCRIBE_S = 9.0
"""Seconds until someone who wants to subscribe is asked to come back."""

LINK_S = 4.0
"""Seconds of these that who is refused waits for the portal's link."""

COMPLETE_S = 9.0
"""Seconds until the page after the payment is shown, whatever it can say."""

REUSABLE = timedelta(minutes=2)
"""How long a session must be left to be handed out again: someone has to type a card number."""


async def subscribe_pro(
    res: Resources, user_id: UUID, interval: Interval = "month"
) -> tuple[Checkout, bool]:
    """Return a session in which the user may buy Pro, and whether it was opened now.

    However often and however much in parallel it is called, a user has one Stripe customer and
    one open session: for another interval than before it is another, and the old one expires.

    Raises:
        IntervalNotOfferedError: Pro is not sold by it.
        AlreadySubscribedError: the user is Pro.
        PaymentOverdueError: the user's subscription waits for a payment.
        SubscriptionExistsError: it is paused, say.
        BillingUnavailableError: there is no usable answer within `SUBSCRIBE_S`.
    """
    price_id = res.settings.price_sold(interval)
    if price_id is None:
        raise IntervalNotOfferedError(f"Pro is not sold by the {interval}; leave interval out")
    deadline = asyncio.get_running_loop().time() + SUBSCRIBE_S
    try:
        async with user_held(res, user_id, within_s=SUBSCRIBE_S) as conn:
            return await _reuse_or_open(res, conn, user_id, price_id)
    except LiveSubscriptionError as exc:
        left_s = deadline - asyncio.get_running_loop().time()
        portal_url = await portal.find_portal(res, user_id, within_s=min(left_s, LINK_S))
        if portal_url is not None:
            exc.extra["portal_url"] = portal_url
        raise


async def _reuse_or_open(
    res: Resources, conn: Connection, user_id: UUID, price_id: str
) -> tuple[Checkout, bool]:
    standing = (await standings.standing_of(conn, user_id)).standing
    rules.ensure_may_subscribe(standing)
    given = await checkouts.checkout_of(conn, user_id)
    customer = await customers.ensure_customer(conn, user_id)
    if given and await _is_reusable(res, conn, customer, given, price_id):
        return given, False
    # Asked again: what became of the session may have been news.
    standing = (await standings.standing_of(conn, user_id)).standing
    is_new = standing.status == "none" and not await invoices.has_invoice(conn, user_id)
    offer = Offer(
        price_id=price_id,
        trial_days=res.settings.pro_trial_days if is_new else 0,
        coupon_id=res.settings.stripe_coupon_id,
        promotion_codes=res.settings.stripe_promotion_codes,
    )
    try:
        return await _open_checkout(res, conn, customer, offer), True
    except CustomerGoneError:
        await customers.update_stripe_customer(conn, user_id, stripe_customer_id=None)
        raise
    except BillingUnavailableError as exc:
        if exc.answered:
            await customers.increment_attempt(conn, user_id)
        raise


async def _is_reusable(
    res: Resources, conn: Connection, customer: Customer, given: Checkout, price_id: str
) -> bool:
    """Tell whether the session can be handed out again; if not, nobody can pay it any more.

    Raises:
        AlreadySubscribedError, PaymentOverdueError, SubscriptionExistsError: it was paid, and we
            had not heard of it yet.
    """
    state = await res.payments.session_state(given.session_id)
    if state is not None and state.status == "open":
        if given.expires_at > utc_now() + REUSABLE and given.price_id == price_id:
            return True
        state = await res.payments.expire_session(given.session_id)
    if state is not None and state.status == "complete" and customer.stripe_customer_id:
        synced = await syncing.sync(res, conn, customer.user_id, customer.stripe_customer_id)
        rules.ensure_may_subscribe(synced)
    return False


async def _open_checkout(
    res: Resources, conn: Connection, customer: Customer, offer: Offer
) -> Checkout:
    user_id = customer.user_id
    if customer.stripe_customer_id is None:
        stripe_customer_id = await res.payments.create_customer(
            user_id, idempotency_key=f"customer-{user_id}-{customer.attempt}"
        )
        await customers.update_stripe_customer(conn, user_id, stripe_customer_id=stripe_customer_id)
        customer = await customers.ensure_customer(conn, user_id)
    await res.payments.describe_customer(customer)
    public_url = res.settings.public_url
    checkout = await res.payments.open_checkout(
        customer,
        offer,
        success_url=f"{public_url}/subscription/complete?session_id={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{public_url}/subscription/cancelled",
        idempotency_key=f"checkout-{user_id}-{customer.attempt}-{offer.price_id}",
    )
    async with conn.transaction():
        await checkouts.upsert_checkout(conn, user_id, checkout)
        await customers.increment_attempt(conn, user_id)
    return checkout


async def complete_checkout(res: Resources, session_id: str) -> bool:
    """Ask Stripe what became of a session, copy its customer's state, return whether it is Pro.

    Anybody may ask, so Stripe is asked only about a user's latest session, and only until it is
    settled.

    Raises:
        BillingUnavailableError: Stripe gave no usable answer.
        TimeoutError: there is none within `COMPLETE_S`.
    """
    async with asyncio.timeout(COMPLETE_S):
        async with res.db.acquire() as conn:
            found = await checkouts.user_of_session(conn, session_id)
            if found is None:
                return False
            user_id, is_settled = found
            if is_settled:
                return (await standings.standing_of(conn, user_id)).standing.plan == "pro"
        state = await res.payments.session_state(session_id)
        if state is None or state.stripe_customer_id is None:
            return False
        standing = await syncing.sync_customer(res, state.stripe_customer_id, cause="redirect")
    return standing is not None and standing.plan == "pro"

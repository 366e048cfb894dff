"""What billing does, step by step."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from libs.common import inbox, outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import Entitlements, Plan, SubscriptionChanged, UserRegistered
from libs.common.settings import split_names
from services.billing import payments, rules, store
from services.billing.errors import (
    BillingUnavailableError,
    CustomerGoneError,
    WebhookDisabledError,
)
from services.billing.models import Checkout, Customer, KnownStanding, Standing, SubscriptionOut
from services.billing.resources import Resources

log = structlog.stdlib.get_logger()
SUBSCRIBE_S = 9.0
"""Seconds until someone who wants to subscribe is asked to come back."""

SYNC_WAIT_S = 12.0
"""Seconds that a sync waits for another of the same user, which may wait for Stripe."""

REUSABLE = timedelta(minutes=2)
"""How long a session must be left to be handed out again: someone has to type a card number."""

LAST = datetime.max.replace(tzinfo=UTC)


async def record_user(res: Resources, event: UserRegistered) -> None:
    """Store how a new user can be reached, once."""
    async with res.db.acquire() as conn, conn.transaction():
        if await inbox.first_time(conn, consumer="billing", event_id=event.event_id):
            await store.upsert_customer(
                conn, event.user_id, email=event.email, phone=event.phone, name=event.name
            )


async def subscription_status(res: Resources, user_id: UUID) -> SubscriptionOut:
    """Return what the user has subscribed to; asks our own tables only."""
    async with res.db.acquire() as conn:
        known = await store.standing_of(conn, user_id)
    granted = _granted(res, known.standing.plan)
    return SubscriptionOut(
        plan=known.standing.plan,
        status=known.standing.status,
        current_period_end=known.standing.current_period_end,
        cancel_at_period_end=known.standing.cancel_at_period_end,
        entitlements=granted,
        as_of=known.as_of,
    )


async def subscribe_pro(res: Resources, user_id: UUID) -> tuple[Checkout, bool]:
    """Return a session in which the user may buy Pro, and whether it was opened now.

    However often and however much in parallel it is called, a user has one Stripe customer and
    one open session.

    Raises:
        AlreadySubscribedError: the user is Pro.
        PaymentOverdueError: the user's subscription waits for a payment.
        BillingUnavailableError: Stripe gave no usable answer within `SUBSCRIBE_S`.
    """
    try:
        async with (
            asyncio.timeout(SUBSCRIBE_S),
            res.locks.held(user_id, within_s=SUBSCRIBE_S) as conn,
        ):
            return await _reuse_or_open(res, conn, user_id)
    except TimeoutError as exc:
        raise BillingUnavailableError("Stripe takes too long; try again in a few seconds") from exc


async def _reuse_or_open(res: Resources, conn: Connection, user_id: UUID) -> tuple[Checkout, bool]:
    standing = (await store.standing_of(conn, user_id)).standing
    rules.ensure_may_subscribe(standing)
    given = await store.checkout_of(conn, user_id)
    customer = await store.ensure_customer(conn, user_id)
    if given and given.expires_at > utc_now() + REUSABLE:
        state = await res.payments.session_state(given.session_id)
        if state is not None and state.status == "open":
            return given, False
        if state is not None and state.status == "complete" and customer.stripe_customer_id:
            # Paid, and we have not heard of it yet.
            synced = await _sync(res, conn, user_id, customer.stripe_customer_id)
            rules.ensure_may_subscribe(synced)
    try:
        return await _open_checkout(res, conn, customer), True
    except CustomerGoneError:
        await store.update_stripe_customer(conn, user_id, stripe_customer_id=None)
        raise
    except BillingUnavailableError as exc:
        if exc.answered:
            await store.increment_attempt(conn, user_id)
        raise


async def _open_checkout(res: Resources, conn: Connection, customer: Customer) -> Checkout:
    user_id = customer.user_id
    if customer.stripe_customer_id is None:
        stripe_customer_id = await res.payments.create_customer(
            customer, idempotency_key=f"customer-{user_id}-{customer.attempt}"
        )
        await store.update_stripe_customer(conn, user_id, stripe_customer_id=stripe_customer_id)
        customer = await store.ensure_customer(conn, user_id)
    public_url = res.settings.public_url
    checkout = await res.payments.open_checkout(
        customer,
        success_url=f"{public_url}/subscription/complete?session_id={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{public_url}/subscription/cancelled",
        idempotency_key=f"checkout-{user_id}-{customer.attempt}",
    )
    async with conn.transaction():
        await store.upsert_checkout(conn, user_id, checkout)
        await store.increment_attempt(conn, user_id)
    return checkout


async def receive_stripe_event(res: Resources, raw: bytes, signature: str | None) -> None:
    """Store a webhook's event, once, to be applied at once.

    Raises:
        WebhookDisabledError: no secret is set.
        BadSignatureError: Stripe did not sign these bytes lately.
        MalformedEventError: the body is no Stripe event.
    """
    setting = res.settings.stripe_webhook_secret
    listed = setting.get_secret_value().split(",") if setting else []
    secrets = [secret.strip() for secret in listed if secret.strip()]
    if not secrets:
        raise WebhookDisabledError("webhooks are off here; set STRIPE_WEBHOOK_SECRET")
    now = utc_now()
    event = payments.read_event(raw, signature, secrets=secrets, now=now)
    async with res.db.acquire() as conn:
        fresh = await store.insert_event(conn, event, at=now)
    log.info("stripe_event_received", event_id=event.id, type=event.type, fresh=fresh)
    if fresh:
        res.event_stored.set()


async def complete_checkout(res: Resources, session_id: str) -> bool:
    """Ask Stripe what became of a session, copy its customer's state, return whether it is Pro.

    Raises:
        BillingUnavailableError: Stripe gave no usable answer.
        TimeoutError: the customer is being looked at for too long.
    """
    state = await res.payments.session_state(session_id)
    if state is None or state.stripe_customer_id is None:
        return False
    standing = await sync_customer(res, state.stripe_customer_id)
    return standing is not None and standing.plan == "pro"


async def sync_customer(res: Resources, stripe_customer_id: str) -> Standing | None:
    """Make our copy of a customer what Stripe says now; None if it is no customer of ours.

    Raises:
        BillingUnavailableError: Stripe gave no usable answer.
        TimeoutError: another sync of the same user took longer than `SYNC_WAIT_S`.
    """
    async with res.db.acquire() as conn:
        user_id = await store.user_of_customer(conn, stripe_customer_id)
        if user_id is None:
            events = await store.unapplied_events(conn, stripe_customer_id)
            await store.mark_applied(conn, events, at=utc_now())
            return None
    async with res.locks.held(user_id, within_s=SYNC_WAIT_S) as conn:
        return await _sync(res, conn, user_id, stripe_customer_id)


async def _sync(
    res: Resources, conn: Connection, user_id: UUID, stripe_customer_id: str
) -> Standing:
    """Fetch and store, under the user's lock: an older fetch never overwrites a newer one."""
    now = utc_now()
    # What was stored before the fetch is reflected in it; what comes later needs another.
    events = await store.unapplied_events(conn, stripe_customer_id)
    subscriptions = await res.payments.subscriptions_of(stripe_customer_id)
    grace = timedelta(days=res.settings.past_due_grace_days)
    standing = rules.effective(subscriptions, now=now, grace=grace)
    async with conn.transaction():
        await _store_standing(res, conn, user_id, standing, now)
        await store.mark_applied(conn, events, at=now)
        # What was paid or has expired tells nothing new; the sweep need not look at it.
        last = LAST if standing.plan == "pro" else now
        await store.delete_checkout(conn, user_id, unless_open_at=last)
    res.relay.nudge()
    return standing


def _granted(res: Resources, plan: Plan) -> Entitlements:
    return rules.entitlements(
        plan,
        basic_messages_per_day=res.settings.basic_messages_per_day,
        basic_models=split_names(res.settings.basic_models),
        pro_models=split_names(res.settings.pro_models),
    )


async def _store_standing(
    res: Resources, conn: Connection, user_id: UUID, standing: Standing, now: datetime
) -> None:
    known = await store.lock_standing(conn, user_id)
    if _visible(standing) == _visible(known.standing):
        fresh = KnownStanding(standing, known.version, as_of=now)
        await store.update_standing(conn, user_id, fresh)
        return
    fresh = KnownStanding(standing, known.version + 1, as_of=now)
    await store.update_standing(conn, user_id, fresh)
    granted = _granted(res, standing.plan)
    await outbox.add(
        conn,
        SubscriptionChanged(
            user_id=user_id,
            version=fresh.version,
            plan=standing.plan,
            status=standing.status,
            entitlements=granted,
            current_period_end=standing.current_period_end,
            cancel_at_period_end=standing.cancel_at_period_end,
        ),
    )
    log.info("subscription_changed", user_id=str(user_id), plan=standing.plan)


def _visible(standing: Standing) -> Standing:
    return replace(standing, stripe_subscription_id=None)

"""Making our copy of a customer what Stripe says, and announcing what changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import Entitlements, Plan, SubscriptionChanged
from libs.common.settings import split_names
from services.billing import rules
from services.billing.models import KnownStanding, Standing, Subscription
from services.billing.resources import Resources
from services.billing.store import checkouts, customers, events, invoices, standings

log = structlog.stdlib.get_logger()
SYNC_WAIT_S = 12.0
"""Seconds that a sync waits for another of the same user, which may wait for Stripe."""

BATCH = 200
LAST = datetime.max.replace(tzinfo=UTC)


async def sync_customer(res: Resources, stripe_customer_id: str) -> Standing | None:
    """Make our copy of a customer what Stripe says now; None if it is no customer of ours.

    Raises:
        BillingUnavailableError: Stripe gave no usable answer.
        TimeoutError: another sync of the same user took longer than `SYNC_WAIT_S`.
    """
    async with res.db.acquire() as conn:
        user_id = await customers.user_of_customer(conn, stripe_customer_id)
        if user_id is None:
            waiting = await events.unapplied_events(conn, stripe_customer_id)
            await events.mark_applied(conn, waiting, at=utc_now())
            return None
    async with res.locks.held(user_id, within_s=SYNC_WAIT_S) as conn:
        if await customers.user_of_customer(conn, stripe_customer_id) is None:
            return None  # deleted meanwhile
        return await sync(res, conn, user_id, stripe_customer_id)


async def sync(
    res: Resources, conn: Connection, user_id: UUID, stripe_customer_id: str
) -> Standing:
    """Fetch and store, under the user's lock: an older fetch never overwrites a newer one."""
    now = utc_now()
    # What was stored before the fetch is reflected in it; what comes later needs another.
    waiting = await events.unapplied_events(conn, stripe_customer_id)
    subscriptions = rules.pro_subscriptions(
        await res.payments.subscriptions_of(stripe_customer_id),
        price_ids=res.settings.pro_price_ids,
    )
    billed = await res.payments.invoices_of(stripe_customer_id)
    subscriptions = rules.mark_taken_back(subscriptions, billed)
    _report_doubles(user_id, subscriptions)
    grace = timedelta(days=res.settings.past_due_grace_days)
    standing = rules.effective(subscriptions, now=now, grace=grace)
    async with conn.transaction():
        await _store_standing(res, conn, user_id, standing, now)
        await invoices.upsert_invoices(conn, user_id, billed)
        await events.mark_applied(conn, waiting, at=now)
        # What was paid or has expired tells nothing new; the sweep need not look at it.
        last = LAST if standing.plan == "pro" else now
        await checkouts.settle_checkout(conn, user_id, at=now, unless_open_at=last)
    res.relay.nudge()
    return standing


def _report_doubles(user_id: UUID, subscriptions: list[Subscription]) -> None:
    """Call for a person if the user pays twice; which payment to give back is theirs to say."""
    alive = [each.id for each in rules.alive(subscriptions)]
    if len(alive) > 1:
        log.error("several_subscriptions", user_id=str(user_id), subscription_ids=alive)


async def _store_standing(
    res: Resources, conn: Connection, user_id: UUID, standing: Standing, now: datetime
) -> None:
    known = await standings.lock_standing(conn, user_id)
    granted = granted_by(res, standing.plan).messages_per_day
    was_announced = known.version > 0
    if _visible(standing) == _visible(known.standing) and (
        granted == known.messages_per_day or not was_announced
    ):
        fresh = replace(known, standing=standing, as_of=now)
        await standings.update_standing(conn, user_id, fresh)
    else:
        await _announce(res, conn, user_id, replace(known, standing=standing, as_of=now))


async def announce_grants(res: Resources) -> int:
    """Announce up to `BATCH` standings that grant something else by now, and return how many.

    The allowance of the Basic plan is a setting, so a new one must reach even those of whom Stripe
    has nothing new to say. Who was never announced has chat's own default.
    """
    allowance = res.settings.basic_messages_per_day
    async with res.db.acquire() as conn, conn.transaction():
        outdated = await standings.lock_outdated_grants(
            conn, messages_per_day=allowance, limit=BATCH
        )
        for user_id, known in outdated:
            await _announce(res, conn, user_id, known)
    res.relay.nudge()
    return len(outdated)


async def _announce(res: Resources, conn: Connection, user_id: UUID, known: KnownStanding) -> None:
    """Store the standing as the next version, and what it grants now, and announce both."""
    standing = known.standing
    granted = granted_by(res, standing.plan)
    version = known.version + 1
    await standings.update_standing(
        conn, user_id, replace(known, version=version, messages_per_day=granted.messages_per_day)
    )
    await outbox.add(
        conn,
        SubscriptionChanged(
            user_id=user_id,
            version=version,
            plan=standing.plan,
            status=standing.status,
            entitlements=granted,
            current_period_end=standing.current_period_end,
            cancel_at_period_end=standing.cancel_at_period_end,
        ),
    )
    log.info("subscription_changed", user_id=str(user_id), plan=standing.plan)


def granted_by(res: Resources, plan: Plan) -> Entitlements:
    """Return what `plan` grants under our settings."""
    return rules.entitlements(
        plan,
        basic_messages_per_day=res.settings.basic_messages_per_day,
        basic_models=split_names(res.settings.basic_models),
        pro_models=split_names(res.settings.pro_models),
    )


def _visible(standing: Standing) -> Standing:
    return replace(standing, stripe_subscription_id=None)

"""Making our copy of a customer what Stripe says, and announcing what changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import SubscriptionChanged
from services.billing import grants, rules
from services.billing.actions import duplicates, timeline
from services.billing.errors import BillingUnavailableError
from services.billing.metrics import WEBHOOK_LAG_S
from services.billing.models import KnownStanding, Standing, Subscription
from services.billing.resources import Resources
from services.billing.store import checkouts, customers, events, invoices, standings
from services.billing.store import grants as store_grants
from services.billing.timeline_models import Cause, EventName

log = structlog.stdlib.get_logger()
SYNC_WAIT_S = 12.0
"""Seconds that a sync waits for another of the same user, which may wait for Stripe."""

BATCH = 200
LAST = datetime.max.replace(tzinfo=UTC)


async def sync_customer(
    res: Resources, stripe_customer_id: str, *, cause: Cause = "user"
) -> Standing | None:
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
        return await sync(res, conn, user_id, stripe_customer_id, cause=cause)


async def sync(
    res: Resources,
    conn: Connection,
    user_id: UUID,
    stripe_customer_id: str,
    *,
    cause: Cause = "user",
) -> Standing:
    """Fetch and store, under the user's lock: an older fetch never overwrites a newer one.

    Subscriptions that are too many are healed, and then all is fetched again.
    """
    standing = await _copy(res, conn, user_id, stripe_customer_id, cause)
    try:
        healed = await duplicates.heal(res, conn, user_id)
    except BillingUnavailableError as exc:
        # What was found is stored, and the sweep comes back to it.
        log.warning("healing_postponed", user_id=str(user_id), error=type(exc).__name__)
        return standing
    if not healed:
        return standing
    return await _copy(res, conn, user_id, stripe_customer_id, "healing")


async def _copy(
    res: Resources, conn: Connection, user_id: UUID, stripe_customer_id: str, cause: Cause
) -> Standing:
    now = utc_now()
    # What was stored before the fetch is reflected in it; what comes later needs another.
    waiting = await events.unapplied_events(conn, stripe_customer_id)
    prices = res.settings.pro_price_ids
    subscriptions = rules.pro_subscriptions(
        await res.payments.subscriptions_of(stripe_customer_id), price_ids=prices
    )
    billed = await res.payments.invoices_of(stripe_customer_id)
    subscriptions = rules.mark_taken_back(subscriptions, billed)
    found = rules.duplicates(subscriptions, price_ids=prices)
    _report_doubles(user_id, subscriptions)
    too_many = {each.subscription_id for each in found}
    standing = rules.effective(
        [each for each in subscriptions if each.id not in too_many],
        now=now,
        grace=timedelta(days=res.settings.past_due_grace_days),
    )
    async with conn.transaction():
        await _store_standing(conn, res, user_id, standing, now, cause, waiting)
        await duplicates.record(conn, user_id, found, cause=cause, now=now)
        await invoices.upsert_invoices(conn, user_id, billed)
        lags = await events.mark_applied(conn, waiting, at=utc_now())
        # What was paid or has expired tells nothing new; the sweep need not look at it.
        last = LAST if standing.plan == "pro" else now
        await checkouts.settle_checkout(conn, user_id, at=now, unless_open_at=last)
    res.relay.nudge()
    for lag in lags:
        WEBHOOK_LAG_S.observe(max(0.0, lag.total_seconds()))
    return standing


def _report_doubles(user_id: UUID, subscriptions: list[Subscription]) -> None:
    """Call for a person if the user pays twice, or may come to: not all of it is healed."""
    alive = [each.id for each in rules.alive(subscriptions)]
    if len(alive) > 1:
        log.error("several_subscriptions", user_id=str(user_id), subscription_ids=alive)


async def _store_standing(
    conn: Connection,
    res: Resources,
    user_id: UUID,
    standing: Standing,
    now: datetime,
    cause: Cause,
    settled: list[EventName],
) -> None:
    known = await standings.lock_standing(conn, user_id)
    fresh = replace(known, standing=standing, as_of=now)
    granted = res.settings.plans()[standing.plan]
    was_announced = known.version > 0
    if _visible(standing) == _visible(known.standing) and (
        granted == known.granted or not was_announced
    ):
        await standings.update_standing(conn, user_id, fresh)
        if standing != known.standing or settled or cause == "support":
            await timeline.record(conn, user_id, known, fresh, cause=cause, events=settled)
    else:
        await announce(res, conn, user_id, known, fresh, cause=cause, events=settled)


async def announce_grants(res: Resources) -> int:
    """Announce up to `BATCH` users who may do something else by now, and return how many.

    What a plan grants is a setting, so a new one must reach even those of whom Stripe has nothing
    new to say. Who was never announced has the other services' own default.
    """
    async with res.db.acquire() as conn, conn.transaction():
        outdated = await standings.lock_outdated(
            conn, plans=res.settings.plans(), now=utc_now(), limit=BATCH
        )
        for user_id, known in outdated:
            await announce(res, conn, user_id, known, known, cause="setting")
    res.relay.nudge()
    return len(outdated)


async def announce_due(res: Resources) -> int:
    """Announce up to `BATCH` users of whom a grant has begun or ended, and return how many."""
    async with res.db.acquire() as conn, conn.transaction():
        due = await standings.lock_due(conn, now=utc_now(), limit=BATCH)
        for user_id, known in due:
            await announce(res, conn, user_id, known, known, cause="grant")
    res.relay.nudge()
    return len(due)


async def announce(
    res: Resources,
    conn: Connection,
    user_id: UUID,
    known: KnownStanding,
    fresh: KnownStanding,
    *,
    cause: Cause,
    events: list[EventName] | None = None,
) -> None:
    """Store the standing as the next version, and what it grants now, and announce both.

    The caller holds the standing: grants of the user change only under it.
    """
    standing, version, now = fresh.standing, known.version + 1, utc_now()
    plans = res.settings.plans()
    given = await store_grants.list_open_grants(conn, user_id, now=now)
    plan, entitlements = grants.effective(standing.plan, grants.live(given, now), plans=plans)
    fresh = replace(
        fresh,
        version=version,
        granted=plans[standing.plan],
        grants_change_at=grants.next_change(given, now),
        announced={"plan": plan, **entitlements.model_dump()},
    )
    await standings.update_standing(conn, user_id, fresh)
    await timeline.record(conn, user_id, known, fresh, cause=cause, events=events)
    await outbox.add(
        conn,
        SubscriptionChanged(
            user_id=user_id,
            version=version,
            plan=plan,
            status=standing.status,
            entitlements=entitlements,
            current_period_end=standing.current_period_end,
            cancel_at_period_end=standing.cancel_at_period_end,
        ),
    )
    log.info("subscription_changed", user_id=str(user_id), plan=plan)


def _visible(standing: Standing) -> Standing:
    return replace(standing, stripe_subscription_id=None)

"""What people of support see and do: why somebody has the plan that they have."""

import asyncio
from uuid import UUID

import structlog

from libs.common.clock import utc_now
from libs.common.identity import Identity
from services.billing import rules
from services.billing.actions import syncing, timeline
from services.billing.actions.users import subscription_status
from services.billing.errors import (
    BillingUnavailableError,
    NoStripeCustomerError,
    StripeEventNotFoundError,
)
from services.billing.resources import Resources
from services.billing.store import customers, events, standings
from services.billing.timeline_models import BillingOut, StoredEvent

log = structlog.stdlib.get_logger()
STUCK_ATTEMPTS = 8
"""Failed attempts after which a stored event is shown as stuck: about two minutes of them."""

SYNC_S = 9.0
"""Seconds until support is told that Stripe does not answer."""


async def read_billing(
    res: Resources, user_id: UUID, *, before: int | None, limit: int
) -> BillingOut:
    """Return somebody's standing, why it is so, and their timeline; of anybody, known or not."""
    async with res.db.acquire() as conn:
        known = await standings.standing_of(conn, user_id)
        stripe_customer_id = await customers.stripe_customer_of(conn, user_id)
    return BillingOut(
        user_id=user_id,
        stripe_customer_id=stripe_customer_id,
        stripe_subscription_id=known.standing.stripe_subscription_id,
        version=known.version,
        why=rules.why(known.standing),
        subscription=await subscription_status(res, user_id),
        timeline=await timeline.read_timeline(res, user_id, before=before, limit=limit),
    )


async def sync_user(res: Resources, caller: Identity, user_id: UUID) -> None:
    """Ask Stripe about somebody now; that it was asked is in their timeline whatever it says.

    Raises:
        NoStripeCustomerError: Stripe does not know them.
        BillingUnavailableError: there is no usable answer within `SYNC_S`.
    """
    async with res.db.acquire() as conn:
        stripe_customer_id = await customers.stripe_customer_of(conn, user_id)
    if stripe_customer_id is None:
        raise NoStripeCustomerError
    log.info("billing_synced", user_id=str(user_id), actor=str(caller.user_id))
    try:
        async with asyncio.timeout(SYNC_S):
            await syncing.sync_customer(res, stripe_customer_id, cause="support")
    except TimeoutError as exc:
        raise BillingUnavailableError("Stripe did not answer in time; try again") from exc


async def list_stuck_events(res: Resources, *, after: str | None, limit: int) -> list[StoredEvent]:
    """Return stored events that failed again and again, oldest first."""
    async with res.db.acquire() as conn:
        return await events.list_stuck(conn, attempts=STUCK_ATTEMPTS, after=after, limit=limit)


async def retry_event(res: Resources, caller: Identity, event_id: str) -> StoredEvent:
    """Let a stored event be tried again at once, without waiting for its turn.

    Raises:
        StripeEventNotFoundError: none with that id waits.
    """
    async with res.db.acquire() as conn:
        found = await events.retry_now(conn, event_id, now=utc_now())
    if found is None:
        raise StripeEventNotFoundError
    log.info("stripe_event_retried", event_id=event_id, actor=str(caller.user_id))
    res.event_stored.set()
    return found

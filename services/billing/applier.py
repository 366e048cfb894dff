"""The background task that turns stored webhooks, and the passing of time, into Stripe's state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from libs.common.clock import utc_now
from services.billing.actions import syncing
from services.billing.errors import BillingUnavailableError
from services.billing.metrics import WEBHOOK_FAILURES
from services.billing.resources import Resources
from services.billing.store import customers, events

log = structlog.stdlib.get_logger()
BATCH = 20
SAFETY_NET_S = 1.0
"""Seconds between looks when nobody nudged: a retry is due, or another process has died."""

SWEEP_INTERVAL_S = 60.0
STALE = timedelta(hours=1)
"""Age at which a copy is compared with Stripe again: webhooks get lost, and grace runs out."""

IDLE_STALE = timedelta(days=1)
"""The same of who has nothing that could change by itself: Stripe's dashboard can do anything."""

SWEEP_AGAIN = timedelta(minutes=5)
"""How soon the sweep tries a customer again whom it could not compare."""

KEEP_EVENTS = timedelta(days=30)
"""How long applied events are kept for people to read; Stripe repeats one for three days."""

_EXPECTED = (BillingUnavailableError, TimeoutError)


class Applier:
    """Safe to run in several processes: each customer is handled by one at a time."""

    def __init__(self, res: Resources) -> None:
        self._res = res

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Apply in the background while the block runs."""
        tasks = [
            asyncio.create_task(self._apply_forever()),
            asyncio.create_task(self._sweep_forever()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def apply_due(self) -> int:
        """Apply the events of up to `BATCH` customers and return of how many.

        An event decides whose state is fetched, never what the state is; so order, repetition and
        content of events do not matter.
        """
        async with self._res.db.acquire() as conn:
            due = await events.due_customers(conn, now=utc_now(), limit=BATCH)
        await asyncio.gather(*(self._apply(customer) for customer in due))
        return len(due)

    async def sweep(self) -> int:
        """Compare up to `BATCH` old copies with Stripe and return how many could be."""
        now = utc_now()
        async with self._res.db.acquire() as conn:
            claimed = await customers.claim_stale_customers(
                conn,
                now=now,
                before=now - STALE,
                idle_before=now - IDLE_STALE,
                tried_before=now - SWEEP_AGAIN,
                limit=BATCH,
            )
        return sum([await self._refresh(customer) for customer in claimed])

    async def tidy(self) -> None:
        """Announce allowances that a setting changed, and delete a batch of old events."""
        while await syncing.announce_grants(self._res) == syncing.BATCH:
            pass
        async with self._res.db.acquire() as conn:
            await events.delete_old_events(conn, before=utc_now() - KEEP_EVENTS, limit=1000)

    async def _apply(self, stripe_customer_id: str) -> None:
        try:
            await syncing.sync_customer(self._res, stripe_customer_id, cause="event")
        except Exception as exc:  # noqa: BLE001 - one customer must not stop the rest
            error = type(exc).__name__
            WEBHOOK_FAILURES.inc()
            _log_postponed("stripe_events_postponed", stripe_customer_id, exc)
            async with self._res.db.acquire() as conn:
                await events.postpone_events(conn, stripe_customer_id, now=utc_now(), error=error)

    async def _refresh(self, stripe_customer_id: str) -> bool:
        try:
            await syncing.sync_customer(self._res, stripe_customer_id, cause="sweep")
        except Exception as exc:  # noqa: BLE001 - one customer must not stop the rest
            _log_postponed("sweep_postponed", stripe_customer_id, exc)
            return False
        return True

    async def _apply_forever(self) -> None:
        while True:
            self._res.event_stored.clear()
            try:
                while await self.apply_due() == BATCH:
                    pass
            except Exception as exc:  # noqa: BLE001 - it must outlive any outage
                log.warning("applier_failed", error=type(exc).__name__)
                await asyncio.sleep(SAFETY_NET_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_NET_S):
                    await self._res.event_stored.wait()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.tidy()
                while await self.sweep() == BATCH:
                    pass
            except Exception as exc:  # noqa: BLE001 - it must outlive any outage
                log.warning("sweep_failed", error=type(exc).__name__)
            await asyncio.sleep(SWEEP_INTERVAL_S)


def _log_postponed(event: str, stripe_customer_id: str, exc: Exception) -> None:
    """Log an outage as a line, and what nobody thought of with its traceback."""
    log.warning(
        event,
        stripe_customer_id=stripe_customer_id,
        error=type(exc).__name__,
        exc_info=None if isinstance(exc, _EXPECTED) else exc,
    )

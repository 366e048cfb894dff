"""What a running billing holds: pool, connections, the port to Stripe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from libs.common.broker import Brokers, make_brokers
from libs.common.db import Pool, open_pool
from libs.common.outbox import Relay
from services.billing.locks import UserLocks
from services.billing.payments import Payments, Stripe
from services.billing.settings import Settings


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that outlives a request.

    Attributes:
        settings: as the process was started with.
        db: sees schema `billing` only.
        brokers: RabbitMQ.
        relay: publishes the outbox; nudge it after a commit.
        payments: Stripe.
        locks: one per user, for whatever asks Stripe and stores the answer.
        event_stored: set when a webhook was stored; wakes the applier.
    """

    settings: Settings
    db: Pool
    brokers: Brokers
    relay: Relay
    payments: Payments
    locks: UserLocks
    event_stored: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything but RabbitMQ, whose subscribers must be known first."""
    async with AsyncExitStack() as stack:
        payments = Stripe(
            settings.stripe_secret_key.get_secret_value(),
            api_base=settings.stripe_api_base,
        )
        stack.push_async_callback(payments.aclose)
        db = await stack.enter_async_context(
            await open_pool(settings.database_url, schema="billing", max_size=settings.db_pool_size)
        )
        brokers = make_brokers(settings.rabbitmq_url, service="billing", prefetch=settings.prefetch)
        yield Resources(
            settings=settings,
            db=db,
            brokers=brokers,
            relay=Relay(db, brokers.publish),
            payments=payments,
            locks=UserLocks(db, slots=settings.db_pool_size // 2),
        )

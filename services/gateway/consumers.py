"""The gateway's subscriptions: every event that devices are told of goes into its user's feed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiormq.exceptions import AMQPError
from faststream.rabbit import RabbitRouter

from libs.common.background import in_background
from libs.common.broker import RECONNECT_S, make_brokers
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    MessageChanged,
    SessionRevoked,
    SubscriptionChanged,
    UserDeleted,
)
from libs.common.subscriptions import Subscriptions
from services.gateway.events import feed_document
from services.gateway.resources import Resources

log = structlog.stdlib.get_logger()
Told = (
    ChatroomChanged
    | MessageChanged
    | AIReplyStarted
    | AIReplyReady
    | AIReplyFailed
    | AIReplyStopped
    | SubscriptionChanged
    | SessionRevoked
)


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running gateway."""
    events = Subscriptions("gateway", res)
    events.on(ChatroomChanged, tell)
    events.on(MessageChanged, tell)
    events.on(AIReplyStarted, tell)
    events.on(AIReplyReady, tell)
    events.on(AIReplyFailed, tell)
    events.on(AIReplyStopped, tell)
    events.on(SubscriptionChanged, apply_plan)
    events.on(SessionRevoked, end_session)
    events.on(UserDeleted, forget)
    return events.router


@asynccontextmanager
async def consuming(res: Resources) -> AsyncIterator[None]:
    """Fill the feeds in the background while the block runs.

    RabbitMQ away at the start is no reason not to serve: the feeds catch up when it comes.
    """

    async def consume() -> None:
        while True:
            url, prefetch = res.settings.rabbitmq_url, res.settings.prefetch
            brokers = make_brokers(url, service="gateway", prefetch=prefetch)
            brokers.consume.include_router(make_router(res))
            try:
                async with brokers.running():
                    await asyncio.Event().wait()
            except (OSError, AMQPError) as exc:
                log.warning("broker_unreachable", error=type(exc).__name__)
            await asyncio.sleep(RECONNECT_S)

    async with in_background(consume()):
        yield


async def end_session(res: Resources, event: SessionRevoked) -> None:
    """Have the session's tokens refused and its connections closed; tell the other devices."""
    await res.revocations.revoke(event.session_id, until=event.tokens_expire_at.timestamp())
    await tell(res, event)


async def apply_plan(res: Resources, event: SubscriptionChanged) -> None:
    """Have the plan's rates counted from the next request on; tell the user's devices."""
    await res.grants.keep(event)
    await tell(res, event)


async def tell(res: Resources, event: Told) -> None:
    """Tell the user's devices."""
    await res.feed.append(event.user_id, event.event_id, feed_document(event))


async def forget(res: Resources, event: UserDeleted) -> None:
    """Erase what Redis holds of the user; every gateway refuses their tokens from now on."""
    await res.feed.forget(event.user_id)

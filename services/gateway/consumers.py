"""The gateway's subscriptions: every event that devices are told of goes into its user's feed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import structlog
from aiormq.exceptions import AMQPError
from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.broker import RECONNECT_S, make_brokers
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    MessageChanged,
    SubscriptionChanged,
)
from libs.common.topology import EVENTS, queue
from services.gateway.events import feed_document
from services.gateway.feed import FeedStore

log = structlog.stdlib.get_logger()
Feed = Annotated[FeedStore, Context("feed")]


def make_router() -> RabbitRouter:
    """Return the subscriptions of one running gateway."""
    router = RabbitRouter()
    router.subscriber(queue("gateway", ChatroomChanged), EVENTS)(on_chatroom_changed)
    router.subscriber(queue("gateway", MessageChanged), EVENTS)(on_message_changed)
    router.subscriber(queue("gateway", AIReplyStarted), EVENTS)(on_ai_reply_started)
    router.subscriber(queue("gateway", AIReplyReady), EVENTS)(on_ai_reply_ready)
    router.subscriber(queue("gateway", AIReplyFailed), EVENTS)(on_ai_reply_failed)
    router.subscriber(queue("gateway", AIReplyStopped), EVENTS)(on_ai_reply_stopped)
    router.subscriber(queue("gateway", SubscriptionChanged), EVENTS)(on_subscription_changed)
    return router


@asynccontextmanager
async def consuming(url: str, feed: FeedStore, *, prefetch: int) -> AsyncIterator[None]:
    """Fill the feeds in the background while the block runs.

    RabbitMQ away at the start is no reason not to serve: the feeds catch up when it comes.
    """

    async def consume() -> None:
        while True:
            brokers = make_brokers(url, service="gateway", prefetch=prefetch)
            brokers.consume.context.set_global("feed", feed)
            brokers.consume.include_router(make_router())
            try:
                async with brokers.running():
                    await asyncio.Event().wait()
            except (OSError, AMQPError) as exc:
                log.warning("broker_unreachable", error=type(exc).__name__)
            await asyncio.sleep(RECONNECT_S)

    task = asyncio.create_task(consume())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def on_chatroom_changed(event: ChatroomChanged, feed: Feed) -> None:
    """Tell that a room was made, changed or deleted."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_message_changed(event: MessageChanged, feed: Feed) -> None:
    """Tell that a message was stored, changed or deleted."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_ai_reply_started(event: AIReplyStarted, feed: Feed) -> None:
    """Tell that a reply is being written."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_ai_reply_ready(event: AIReplyReady, feed: Feed) -> None:
    """Tell the finished reply."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_ai_reply_failed(event: AIReplyFailed, feed: Feed) -> None:
    """Tell why there is no reply."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_ai_reply_stopped(event: AIReplyStopped, feed: Feed) -> None:
    """Tell what there is of a stopped reply."""
    await feed.append(event.user_id, event.event_id, feed_document(event))


async def on_subscription_changed(event: SubscriptionChanged, feed: Feed) -> None:
    """Tell what the user may do now."""
    await feed.append(event.user_id, event.event_id, feed_document(event))

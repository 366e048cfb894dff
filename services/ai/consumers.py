"""Ai's subscriptions."""

from typing import Annotated

from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.events import (
    ConversationGrew,
    MessagePosted,
    ReplyStopRequested,
    SubscriptionChanged,
)
from libs.common.topology import EVENTS, queue
from services.ai.actions import entitlements, replies, stops, summaries
from services.ai.resources import Resources

Res = Annotated[Resources, Context("resources")]


def make_router() -> RabbitRouter:
    """Return the subscriptions of one running ai."""
    router = RabbitRouter()
    router.subscriber(queue("ai", MessagePosted), EVENTS)(on_message_posted)
    router.subscriber(queue("ai", ReplyStopRequested), EVENTS)(on_reply_stop_requested)
    router.subscriber(queue("ai", ConversationGrew), EVENTS)(on_conversation_grew)
    router.subscriber(queue("ai", SubscriptionChanged), EVENTS)(on_subscription_changed)
    return router


async def on_message_posted(event: MessagePosted, res: Res) -> None:
    """Answer the message."""
    await replies.answer_message(res, event)


async def on_reply_stop_requested(event: ReplyStopRequested, res: Res) -> None:
    """Stop the reply."""
    await stops.stop_reply(res, event)


async def on_conversation_grew(event: ConversationGrew, res: Res) -> None:
    """Summarise the older turns."""
    await summaries.summarise(res, event)


async def on_subscription_changed(event: SubscriptionChanged, res: Res) -> None:
    """Keep what the user may choose now."""
    await entitlements.apply_subscription(res, event)

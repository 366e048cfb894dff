"""Ai's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import (
    ConversationGrew,
    MessagePosted,
    ReplyStopRequested,
    SubscriptionChanged,
)
from libs.common.subscriptions import Subscriptions
from services.ai.actions import entitlements, replies, stops, summaries
from services.ai.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running ai."""
    events = Subscriptions("ai", res)
    events.on(MessagePosted, replies.answer_message)
    events.on(ReplyStopRequested, stops.stop_reply)
    events.on(ConversationGrew, summaries.summarise)
    events.on(SubscriptionChanged, entitlements.apply_subscription)
    return events.router

"""Ai's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import (
    ConversationGrew,
    MessagePosted,
    PriorityMessagePosted,
    ReplyStopRequested,
    SubscriptionChanged,
    UserDeleted,
)
from libs.common.subscriptions import Subscriptions
from services.ai.actions import deletion, entitlements, replies, stops, summaries
from services.ai.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running ai."""
    events = Subscriptions("ai", res)
    events.on(MessagePosted, replies.answer_message)
    # Its own prefetch, as RabbitMQ counts by consumer: those above never use it up.
    events.on(PriorityMessagePosted, replies.answer_message)
    events.on(ReplyStopRequested, stops.stop_reply)
    events.on(ConversationGrew, summaries.summarise)
    events.on(SubscriptionChanged, entitlements.apply_subscription)
    events.on(UserDeleted, deletion.forget_user)
    return events.router

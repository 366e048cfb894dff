"""Chat's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomSummarised,
    ChatroomTitled,
    SubscriptionChanged,
    UserDeleted,
)
from libs.common.subscriptions import Subscriptions
from services.chat.actions import chatrooms, deletion, entitlements, replies, summaries
from services.chat.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running chat."""
    events = Subscriptions("chat", res)
    events.on(AIReplyStarted, replies.record_start)
    events.on(AIReplyReady, replies.record_reply)
    events.on(AIReplyFailed, replies.record_failure)
    events.on(AIReplyStopped, replies.record_stop)
    events.on(ChatroomSummarised, summaries.record_summary)
    events.on(ChatroomTitled, chatrooms.apply_title)
    events.on(SubscriptionChanged, entitlements.apply_subscription)
    events.on(UserDeleted, deletion.forget_user)
    return events.router

"""Chat's subscriptions: one handler per event, each calls one action."""

from typing import Annotated

from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomSummarised,
    ChatroomTitled,
    SubscriptionChanged,
)
from libs.common.topology import EVENTS, queue
from services.chat.actions import chatrooms, entitlements, replies, summaries
from services.chat.resources import Resources

Res = Annotated[Resources, Context("resources")]


def make_router() -> RabbitRouter:
    """Return the subscriptions of one running chat."""
    router = RabbitRouter()
    router.subscriber(queue("chat", AIReplyStarted), EVENTS)(on_ai_reply_started)
    router.subscriber(queue("chat", AIReplyReady), EVENTS)(on_ai_reply_ready)
    router.subscriber(queue("chat", AIReplyFailed), EVENTS)(on_ai_reply_failed)
    router.subscriber(queue("chat", AIReplyStopped), EVENTS)(on_ai_reply_stopped)
    router.subscriber(queue("chat", ChatroomSummarised), EVENTS)(on_chatroom_summarised)
    router.subscriber(queue("chat", ChatroomTitled), EVENTS)(on_chatroom_titled)
    router.subscriber(queue("chat", SubscriptionChanged), EVENTS)(on_subscription_changed)
    return router


async def on_ai_reply_started(event: AIReplyStarted, res: Res) -> None:
    """Show the reply as running."""
    await replies.record_start(res, event)


async def on_ai_reply_ready(event: AIReplyReady, res: Res) -> None:
    """Store the finished reply."""
    await replies.record_reply(res, event)


async def on_ai_reply_failed(event: AIReplyFailed, res: Res) -> None:
    """Store why there is no reply."""
    await replies.record_failure(res, event)


async def on_ai_reply_stopped(event: AIReplyStopped, res: Res) -> None:
    """Store what had been written when the user stopped the reply."""
    await replies.record_stop(res, event)


async def on_chatroom_summarised(event: ChatroomSummarised, res: Res) -> None:
    """Keep the summary for the room's next prompts."""
    await summaries.record_summary(res, event)


async def on_chatroom_titled(event: ChatroomTitled, res: Res) -> None:
    """Give the room the title, unless it has one of its own."""
    await chatrooms.apply_title(res, event)


async def on_subscription_changed(event: SubscriptionChanged, res: Res) -> None:
    """Keep what the user may do now."""
    await entitlements.apply_subscription(res, event)

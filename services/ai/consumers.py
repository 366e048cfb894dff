"""Ai's subscriptions."""

from typing import Annotated

from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.events import MessagePosted
from libs.common.topology import EVENTS, queue
from services.ai import actions
from services.ai.resources import Resources

Res = Annotated[Resources, Context("resources")]


def make_router() -> RabbitRouter:
    """Return the subscriptions of one running ai."""
    router = RabbitRouter()
    router.subscriber(queue("ai", MessagePosted), EVENTS)(on_message_posted)
    return router


async def on_message_posted(event: MessagePosted, res: Res) -> None:
    """Answer the message."""
    await actions.answer_message(res, event)

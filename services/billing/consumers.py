"""Billing's subscriptions: one handler per event, each calls one action."""

from typing import Annotated

from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.events import UserRegistered
from libs.common.topology import EVENTS, queue
from services.billing.actions import users
from services.billing.resources import Resources

Res = Annotated[Resources, Context("resources")]


def make_router() -> RabbitRouter:
    """Return the subscribers of one app; two apps in a process must not share them."""
    router = RabbitRouter()

    @router.subscriber(queue("billing", UserRegistered), EVENTS)
    async def on_user_registered(event: UserRegistered, res: Res) -> None:
        await users.record_user(res, event)

    return router

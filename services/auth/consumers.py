"""Auth's subscriptions: one handler per event, each calls one action."""

from typing import Annotated

from faststream import Context
from faststream.rabbit import RabbitRouter

from libs.common.events import SubscriptionChanged
from libs.common.topology import EVENTS, queue
from services.auth.actions import accounts
from services.auth.resources import Resources

Res = Annotated[Resources, Context("resources")]


def make_router() -> RabbitRouter:
    """Return a router of its own, so that two apps in a process share no subscriber."""
    router = RabbitRouter()

    @router.subscriber(queue("auth", SubscriptionChanged), EVENTS)
    async def on_subscription_changed(event: SubscriptionChanged, res: Res) -> None:
        """Show the new plan at `/user/me`."""
        await accounts.record_plan(res, event)

    return router

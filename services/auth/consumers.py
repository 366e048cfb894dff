"""Auth's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import SubscriptionChanged
from libs.common.subscriptions import Subscriptions
from services.auth.actions import accounts
from services.auth.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running auth."""
    events = Subscriptions("auth", res)
    events.on(SubscriptionChanged, accounts.record_plan)
    return events.router

"""Billing's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import UserChanged, UserRegistered
from libs.common.subscriptions import Subscriptions
from services.billing.actions import users
from services.billing.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running billing."""
    events = Subscriptions("billing", res)
    events.on(UserRegistered, users.record_user)
    events.on(UserChanged, users.record_change)
    return events.router

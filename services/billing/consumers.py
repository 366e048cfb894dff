"""Billing's subscriptions."""

from faststream.rabbit import RabbitRouter

from libs.common.events import UserChanged, UserDeleted, UserRegistered
from libs.common.subscriptions import Subscriptions
from services.billing.actions import deletion, users
from services.billing.resources import Resources


def make_router(res: Resources) -> RabbitRouter:
    """Return the subscriptions of one running billing."""
    events = Subscriptions("billing", res)
    events.on(UserRegistered, users.record_user)
    events.on(UserChanged, users.record_change)
    events.on(UserDeleted, deletion.forget_user)
    return events.router

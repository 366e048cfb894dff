"""Every contract that crosses a service boundary, one module per producing service."""

from libs.common.events.ai import AIReplyFailed, AIReplyReady, AIReplyStarted, Usage
from libs.common.events.auth import UserRegistered
from libs.common.events.base import Event
from libs.common.events.billing import Entitlements, Plan, SubscriptionChanged
from libs.common.events.chat import MAX_CONTENT, MessagePosted, Turn

ALL_EVENTS: tuple[type[Event], ...] = (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    MessagePosted,
    SubscriptionChanged,
    UserRegistered,
)

__all__ = [
    "ALL_EVENTS",
    "MAX_CONTENT",
    "AIReplyFailed",
    "AIReplyReady",
    "AIReplyStarted",
    "Entitlements",
    "Event",
    "MessagePosted",
    "Plan",
    "SubscriptionChanged",
    "Turn",
    "Usage",
    "UserRegistered",
]

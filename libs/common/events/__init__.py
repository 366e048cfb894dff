"""Every contract that crosses a service boundary, one module per producing service."""

from libs.common.events.ai import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomSummarised,
    ChatroomTitled,
    Usage,
)
from libs.common.events.auth import (
    RevocationReason,
    SessionRevoked,
    UserChanged,
    UserDeleted,
    UserRegistered,
)
from libs.common.events.base import Event
from libs.common.events.billing import Entitlements, Plan, SubscriptionChanged
from libs.common.events.chat import (
    MAX_CONTENT,
    ChatroomChanged,
    ConversationGrew,
    MessageChanged,
    MessagePosted,
    PriorityMessagePosted,
    ReplyStopRequested,
    Turn,
)

ALL_EVENTS: tuple[type[Event], ...] = (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    ChatroomSummarised,
    ChatroomTitled,
    ConversationGrew,
    MessageChanged,
    MessagePosted,
    PriorityMessagePosted,
    ReplyStopRequested,
    SessionRevoked,
    SubscriptionChanged,
    UserChanged,
    UserDeleted,
    UserRegistered,
)

__all__ = [
    "ALL_EVENTS",
    "MAX_CONTENT",
    "AIReplyFailed",
    "AIReplyReady",
    "AIReplyStarted",
    "AIReplyStopped",
    "ChatroomChanged",
    "ChatroomSummarised",
    "ChatroomTitled",
    "ConversationGrew",
    "Entitlements",
    "Event",
    "MessageChanged",
    "MessagePosted",
    "Plan",
    "PriorityMessagePosted",
    "ReplyStopRequested",
    "RevocationReason",
    "SessionRevoked",
    "SubscriptionChanged",
    "Turn",
    "Usage",
    "UserChanged",
    "UserDeleted",
    "UserRegistered",
]

"""Events announced by the ai service."""

from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from libs.common.events.base import Event


class Usage(BaseModel):
    """Tokens of one reply, as the provider counted them; `total` is what it bills.

    Attributes:
        prompt: input tokens, those served from the provider's cache included.
        cached: the part of `prompt` served from the cache.
        output: tokens of the visible reply.
        thoughts: tokens spent on thinking.
        total: the provider's own sum.
    """

    model_config = ConfigDict(frozen=True)

    prompt: NonNegativeInt = 0
    cached: NonNegativeInt = 0
    output: NonNegativeInt = 0
    thoughts: NonNegativeInt = 0
    total: NonNegativeInt = 0


class _ReplyEvent(Event):
    user_id: UUID
    chatroom_id: UUID
    reply_id: UUID
    attempt: int = Field(ge=1)


class AIReplyStarted(_ReplyEvent):
    """A worker began to write a reply.

    Produced by `services.ai.actions`; consumed by chat.

    Attributes:
        user_id: whose reply it is.
        chatroom_id: its room.
        reply_id: the reply.
        attempt: 1 for the first try; a higher one starts over.
        model: the model asked.
    """

    TYPE: ClassVar[str] = "ai.reply_started.v1"

    model: str


class AIReplyReady(_ReplyEvent):
    """The model finished its reply.

    Produced by `services.ai.actions`; consumed by chat.

    Attributes:
        user_id: whose reply it is.
        chatroom_id: its room.
        reply_id: the reply.
        attempt: the attempt that succeeded.
        content: the whole reply, Markdown.
        finish_reason: `stop`, or `max_tokens` if the reply was cut at its limit.
        model: the model that answered.
        usage: tokens used.
    """

    TYPE: ClassVar[str] = "ai.reply_ready.v1"

    content: str = Field(min_length=1)
    finish_reason: str
    model: str
    usage: Usage


class AIReplyFailed(_ReplyEvent):
    """The reply failed for good.

    Produced by `services.ai.actions`; consumed by chat.

    Attributes:
        user_id: whose reply it is.
        chatroom_id: its room.
        reply_id: the reply.
        attempt: the last attempt made.
        content: what had been written before the failure, often empty.
        code: stable name of the reason, e.g. `content_blocked`.
        detail: one sentence for the user.
        retryable: whether asking again may help.
    """

    TYPE: ClassVar[str] = "ai.reply_failed.v1"

    content: str = ""
    code: str
    detail: str
    retryable: bool

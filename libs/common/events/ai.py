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
        tools: tokens of tool results in the prompt.
        total: the provider's own sum.
    """

    model_config = ConfigDict(frozen=True)

    prompt: NonNegativeInt = 0
    cached: NonNegativeInt = 0
    output: NonNegativeInt = 0
    thoughts: NonNegativeInt = 0
    tools: NonNegativeInt = 0
    total: NonNegativeInt = 0


class _ReplyEvent(Event):
    user_id: UUID
    chatroom_id: UUID
    reply_id: UUID
    attempt: int = Field(ge=1)


class AIReplyStarted(_ReplyEvent):
    """A worker has been writing a reply for half a second; of a shorter one only the end is told.

    Produced by `services.ai.actions`; consumed by chat and the gateway.

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

    Produced by `services.ai.actions`; consumed by chat and the gateway.

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

    Produced by `services.ai.actions`; consumed by chat and the gateway.

    Attributes:
        user_id: whose reply it is.
        chatroom_id: its room.
        reply_id: the reply.
        attempt: the last attempt made.
        content: what had been written before the failure, often empty.
        code: stable name of the reason, e.g. `content_blocked`.
        detail: one sentence for the user.
        retryable: whether asking again may help.
        model: the model asked last, None if none was.
        usage: tokens of the content, None if nobody counted them.
    """

    TYPE: ClassVar[str] = "ai.reply_failed.v1"

    content: str = ""
    code: str
    detail: str
    retryable: bool
    model: str | None = None
    usage: Usage | None = None


class AIReplyStopped(_ReplyEvent):
    """The reply ended because its user asked for it.

    Produced by `services.ai.actions`; consumed by chat and the gateway.

    Attributes:
        user_id: whose reply it is.
        chatroom_id: its room.
        reply_id: the reply.
        attempt: the attempt that was stopped; 1 if there was none yet.
        content: what had been written, often empty.
        model: the model that wrote it, None if none was asked yet.
        usage: tokens of the content, None if nobody counted them.
    """

    TYPE: ClassVar[str] = "ai.reply_stopped.v1"

    content: str = ""
    model: str | None = None
    usage: Usage | None = None


class ChatroomTitled(Event):
    """The model found a title for a room that had none.

    Produced by `services.ai.actions`; consumed by chat, which keeps a title that the user gave.

    Attributes:
        user_id: whose room it is.
        chatroom_id: the room.
        title: 1 to 80 characters on one line.
    """

    TYPE: ClassVar[str] = "ai.chatroom_titled.v1"

    user_id: UUID
    chatroom_id: UUID
    title: str = Field(min_length=1, max_length=80)


class ChatroomSummarised(Event):
    """The model summarised the older turns of a room.

    Produced by `services.ai.actions`; consumed by chat.

    Attributes:
        user_id: whose room it is.
        chatroom_id: the room.
        summary: what happened up to `until`, at most 8,000 characters.
        until: id of the last message that the summary covers.
    """

    TYPE: ClassVar[str] = "ai.chatroom_summarised.v1"

    user_id: UUID
    chatroom_id: UUID
    summary: str = Field(min_length=1, max_length=8000)
    until: UUID

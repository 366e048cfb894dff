"""Events announced by the chat service."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.events.base import Event
from libs.common.events.billing import Plan

MAX_CONTENT = 32_000
"""Characters of one message at most."""


class Turn(BaseModel):
    """One earlier message of the room.

    Attributes:
        role: who wrote it.
        content: its text.
    """

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant"]
    content: str


class MessagePosted(Event):
    """It is a user's message's turn to be answered.

    Produced by the SQL function `chat.announce_next_reply`, in the transaction that made it the
    message's turn; consumed by ai. Carries all that ai needs, because content lives in chat alone.

    Attributes:
        user_id: the author.
        chatroom_id: the room.
        message_id: the message to answer.
        reply_id: the reply to be written; also the id of its generation.
        content: the text, 1 to 32,000 characters, as the user typed it.
        history: the newest earlier turns of the branch, oldest first, within chat's budget of
            characters; they follow what `summary` tells.
        summary: what came before `history`, in the model's words; empty in a young room.
        model: the model that the user chose, None for the default.
        wants_title: whether the room still has no title of its own.
        plan: the author's; one who is told nothing of is on Basic.
    """

    TYPE: ClassVar[str] = "chat.message_posted.v1"

    user_id: UUID
    chatroom_id: UUID
    message_id: UUID
    reply_id: UUID
    content: str = Field(min_length=1, max_length=MAX_CONTENT)
    history: tuple[Turn, ...] = ()
    summary: str = ""
    model: str | None = None
    wants_title: bool = False
    plan: Plan = "basic"


class PriorityMessagePosted(MessagePosted):
    """As `MessagePosted`, of a user whose plan is not Basic: it waits in a queue of its own.

    So a backlog of the others keeps nobody waiting who pays.
    """

    TYPE: ClassVar[str] = "chat.priority_message_posted.v1"


class ReplyStopRequested(Event):
    """A user wants a reply to end now, whatever its state.

    Produced by `services.chat.actions`; consumed by ai, which ends it with `AIReplyStopped`.

    Attributes:
        user_id: who asks; it is that user's reply.
        chatroom_id: its room.
        reply_id: the reply.
    """

    TYPE: ClassVar[str] = "chat.reply_stop_requested.v1"

    user_id: UUID
    chatroom_id: UUID
    reply_id: UUID


class ConversationGrew(Event):
    """A branch holds more text than fits a prompt: its older turns want a summary.

    Produced by `services.chat.actions`; consumed by ai, which answers with `ChatroomSummarised`.

    Attributes:
        user_id: whose room it is.
        chatroom_id: the room.
        summary: what was told of the turns before `turns`.
        turns: what the new summary has to tell besides, oldest first.
        until: id of the last message of `turns`.
    """

    TYPE: ClassVar[str] = "chat.conversation_grew.v1"

    user_id: UUID
    chatroom_id: UUID
    summary: str = ""
    turns: tuple[Turn, ...] = Field(min_length=1)
    until: UUID


Change = Literal["created", "updated", "deleted"]


class ChatroomChanged(Event):
    """A room was made, changed or deleted; the user's devices want to know.

    Produced by `services.chat.actions`; consumed by the gateway, for the user's feed.

    Attributes:
        user_id: whose room it is.
        chatroom_id: the room.
        change: what happened.
        version: grows with each change of the room.
        chatroom: the room as `GET /chatroom/{id}` shows it, None if it is deleted.
    """

    TYPE: ClassVar[str] = "chat.chatroom_changed.v1"

    user_id: UUID
    chatroom_id: UUID
    change: Change
    version: int = Field(ge=1)
    chatroom: dict[str, Any] | None = None


class MessageChanged(Event):
    """A user's message was stored, or something about a message changed.

    Produced by `services.chat.actions` and the SQL function `chat.post_message`; consumed by the
    gateway, for the user's feed. How a reply goes on is told by ai's events, not by this one.

    Attributes:
        user_id: whose message it is.
        chatroom_id: its room.
        message_id: the message.
        change: what happened.
        content: the text of a new user message.
        client_message_id: the id that the client gave it.
        parent_id: the message before it on its branch.
        reply_id: the reply that the message waits for: the first, or another one. An update that
            names neither a reply nor feedback tells that the message's branch is shown now.
        created_at: when the message was stored.
        feedback: the user's opinion of a reply, if that is what changed.
    """

    TYPE: ClassVar[str] = "chat.message_changed.v1"

    user_id: UUID
    chatroom_id: UUID
    message_id: UUID
    change: Change
    content: str | None = None
    client_message_id: str | None = None
    parent_id: UUID | None = None
    reply_id: UUID | None = None
    created_at: AwareDatetime
    feedback: dict[str, Any] | None = None

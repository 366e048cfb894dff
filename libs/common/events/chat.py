"""Events announced by the chat service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events.base import Event

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
        history: earlier answered turns, oldest first, within chat's budget of characters.
    """

    TYPE: ClassVar[str] = "chat.message_posted.v1"

    user_id: UUID
    chatroom_id: UUID
    message_id: UUID
    reply_id: UUID
    content: str = Field(min_length=1, max_length=MAX_CONTENT)
    history: tuple[Turn, ...] = ()

"""Chat's rows; field names are the column names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from libs.common.events import Entitlements

Status = Literal["queued", "running", "completed", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Chatroom:
    """A conversation of one user, as its owner sees it.

    Attributes:
        active_at: when its newest message was sent; lists are ordered by it.
        metadata: the client's own, never read by us.
        version: grows with each change of title, pinned, archived and metadata.
    """

    id: UUID
    title: str
    created_at: datetime
    active_at: datetime
    pinned: bool = False
    archived: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A user's message, or the reply to one; a reply's content is empty until it ended.

    Attributes:
        parent_id: the message before it on its branch; of a reply, what it answers.
        sibling_ids: what it can be switched to, oldest first, its own id among them.
    """

    id: UUID
    chatroom_id: UUID
    role: Literal["user", "assistant"]
    status: Status
    reply_to: UUID | None
    content: str
    problem: dict[str, Any] | None
    model: str | None
    finish_reason: str | None
    created_at: datetime
    ended_at: datetime | None
    parent_id: UUID | None = None
    sibling_ids: Sequence[UUID] = ()
    client_message_id: str | None = None
    thumb: Literal["up", "down"] | None = None
    feedback_reason: str | None = None

    @property
    def parts(self) -> list[dict[str, str]]:
        """Return the content by kind; a reply that has none yet has no part."""
        return [{"type": "text", "text": self.content}] if self.content else []

    @property
    def feedback(self) -> dict[str, str | None] | None:
        """Return the user's opinion of a reply, None if there is none."""
        return {"thumb": self.thumb, "reason": self.feedback_reason} if self.thumb else None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Neighbouring messages of the shown branch, newest first.

    Attributes:
        data: the messages.
        next_cursor: continues with older ones, None if there are none.
        prev_cursor: continues with newer ones, None if there are none.
        has_more: whether there are more on the way that the page was asked for.
    """

    data: Sequence[Message]
    next_cursor: UUID | None
    prev_cursor: UUID | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """What a user sends.

    Attributes:
        edits: the message that it takes the place of, None for one at the branch's end.
        client_message_id: the client's name of it, unique in the room.
        model: id of the model to be asked, None for the default.
        idempotency_key: the client's name of the request, unique for the user.
        guest: whether nobody knows who the user is.
    """

    user_id: UUID
    chatroom_id: UUID
    content: str
    edits: UUID | None = None
    client_message_id: str | None = None
    model: str | None = None
    idempotency_key: str | None = None
    guest: bool = False


Outcome = Literal[
    "accepted",
    "replayed",
    "key_reused",
    "no_room",
    "no_message",
    "reply_in_progress",
    "no_model",
    "limit",
    "behind",
]


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a post; see the SQL function `post_message` for the outcomes.

    Attributes:
        plan: as billing announced it, None if it never spoke of the user.
        tokens: what the reply may take at most, 0 where tokens are not limited.
        limits: see `services.chat.quotas.POLICIES`; None if it did not come to that.
        used: how much of each counts, this post included if it was accepted.
    """

    outcome: Outcome
    message_id: UUID
    reply_id: UUID
    parent_id: UUID | None
    created_at: datetime
    last_id: UUID
    plan: str | None
    tokens: int | None
    limits: Sequence[int | None] | None
    used: Sequence[int] | None
    content: str
    client_message_id: str | None


@dataclass(frozen=True, slots=True)
class QuotaState:
    """What a user's plan limits, and how much of each counts; fields as of `Posted`."""

    plan: str | None
    limits: Sequence[int | None]
    used: Sequence[int]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a post is held to where billing never spoke of its user, and how much a reply takes.

    Attributes:
        unbilled: the entitlements of such a user.
        prompt_tokens: length of a prompt at most.
        output_tokens: length of a reply at most, thoughts included.
    """

    unbilled: Entitlements
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended, ready to be stored; `tokens` is None if nobody knows what it has used."""

    reply_id: UUID
    chatroom_id: UUID
    user_id: UUID
    status: Literal["completed", "failed", "stopped"]
    attempt: int
    content: str = ""
    model: str | None = None
    finish_reason: str | None = None
    problem: dict[str, Any] | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ChatroomChange:
    """What to change about a room; None leaves a thing as it is."""

    title: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A message as it is carried from one room to another.

    Attributes:
        parent_id: the message before it on its branch; of a reply, what it answers.
        on_path: whether it is on the shown branch.
        thumb: the user's opinion of a reply, as `feedback_reason` is.
    """

    id: UUID
    parent_id: UUID | None
    role: Literal["user", "assistant"]
    status: Status
    content: str
    created_at: datetime
    ended_at: datetime | None = None
    problem: dict[str, Any] | None = None
    model: str | None = None
    finish_reason: str | None = None
    thumb: Literal["up", "down"] | None = None
    feedback_reason: str | None = None
    on_path: bool = True


@dataclass(frozen=True, slots=True)
class Hit:
    """A title or a message that a search found.

    Attributes:
        id: of the message, or of the room whose title it is.
        role: who wrote the message, None for a title.
        headline: an extract; what was found stands between `HIT_START` and `HIT_END`.
    """

    kind: Literal["chatroom", "message"]
    id: UUID
    chatroom_id: UUID
    chatroom_title: str
    role: Literal["user", "assistant"] | None
    created_at: datetime
    headline: str


HIT_START, HIT_END = "\x01", "\x02"

"""Chat's rows; field names are the column names."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

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
    """A user's message, or the reply to one; a reply's content is empty until it ended."""

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


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a post; see the SQL function `post_message` for the outcomes."""

    outcome: Literal["accepted", "replayed", "key_reused", "no_room", "limit", "behind"]
    message_id: UUID
    reply_id: UUID
    created_at: datetime
    allowance: int | None
    used: int | None
    last_id: UUID


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended, ready to be stored."""

    reply_id: UUID
    chatroom_id: UUID
    user_id: UUID
    status: Literal["completed", "failed"]
    attempt: int
    content: str = ""
    model: str | None = None
    finish_reason: str | None = None
    problem: dict[str, Any] | None = None


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

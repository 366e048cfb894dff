"""Chat's rows; field names are the column names."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Status = Literal["queued", "running", "completed", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Chatroom:
    """A conversation of one user."""

    id: UUID
    title: str
    created_at: datetime
    active_at: datetime


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

"""The protocol of the WebSocket, `thoughtflow.v1`: frames, close codes, origins. No I/O."""

import re
from enum import IntEnum
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from libs.common.errors import MalformedError, ValidationFailedError
from services.gateway.errors import ScopeMissingError

SUBPROTOCOL = "thoughtflow.v1"
FEED = "feed"
AUTH_S = 5.0
"""Seconds that a client has to say who it is."""

IDLE_S = 300.0
"""Seconds of silence after which a connection without subscriptions is closed."""

MAX_SUBSCRIPTIONS = 32
MAX_REFUSED = 20
"""Frames over the rate limit, one after the other, until the connection is closed."""


class Close(IntEnum):
    """Why the server closes a connection."""

    UNAUTHENTICATED = 4401
    FOREIGN = 4403
    IDLE = 4408
    LIMITED = 4429
    RECONNECT = 4503


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(max_length=64)] | int | None = None


class Auth(_Frame):
    """Who the client is; again later with a fresh token of the same user."""

    op: Literal["auth"]
    token: str = Field(min_length=1, max_length=8192, pattern=r"^[A-Za-z0-9_.-]+$")


class Subscribe(_Frame):
    """Follow one reply, or with neither id the feed; `after` is the last cursor that was seen."""

    op: Literal["subscribe"]
    chatroom_id: UUID | None = None
    reply_id: UUID | None = None
    after: str | None = Field(default=None, max_length=64)


class Unsubscribe(_Frame):
    """Follow it no longer."""

    op: Literal["unsubscribe"]
    subscription: str = Field(max_length=64)


class SendMessage(_Frame):
    """What `POST /chatroom/{id}/message` takes: the body, and the header."""

    op: Literal["send"]
    chatroom_id: UUID
    body: dict[str, Any]
    idempotency_key: str | None = Field(default=None, pattern=r"^[!-~]{1,255}$")


class Stop(_Frame):
    """Stop a reply, or every open reply of the room."""

    op: Literal["stop"]
    chatroom_id: UUID
    message_id: UUID | None = None


class Ping(_Frame):
    """Ask for a sign of life."""

    op: Literal["ping"]


Frame = Auth | Subscribe | Unsubscribe | SendMessage | Stop | Ping
_FRAMES: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="op")])


def parse_frame(text: str | None) -> Frame:
    """Return what a client sent.

    Raises:
        MalformedError: it is no JSON text.
        ValidationFailedError: it is no frame of the protocol.
    """
    try:
        return _FRAMES.validate_json(text or "")
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        if error["type"] == "json_invalid":
            raise MalformedError("send frames as JSON text") from exc
        place = ".".join(str(part) for part in error["loc"][:4])[:100]
        raise ValidationFailedError(f"{place or 'frame'}: {error['msg']}") from exc


def ensure_in_scope(scopes: frozenset[str] | None, frame: Frame) -> None:
    """Refuse a frame that the caller's API key is not for; a login, without scopes, may send all.

    Raises:
        ScopeMissingError: it changes something, and the key only reads.
    """
    if scopes is not None and "chat" not in scopes and isinstance(frame, SendMessage | Stop):
        raise ScopeMissingError("chat")


def id_of(text: str | None) -> str | int | None:
    """Return the id of a frame that may be malformed otherwise."""
    try:
        return _FrameId.model_validate_json(text or "").id
    except ValidationError:
        return None


class _FrameId(_Frame):
    model_config = ConfigDict(extra="ignore", frozen=True)


def is_welcome(origin: str | None, host: str | None, allowed: str) -> bool:
    """Return whether a page from `origin` may open a connection here.

    Args:
        origin: the `Origin` header; programs that are no browsers have none.
        host: the `Host` header.
        allowed: origins besides our own, separated by commas.
    """
    if origin is None:
        return True
    if origin in {part.strip().rstrip("/") for part in allowed.split(",") if part.strip()}:
        return True
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.netloc == host


def ticket_of(query: bytes) -> str | None:
    """Return the `ticket` parameter."""
    values = parse_qs(query.decode("latin-1")).get("ticket")
    return values[0] if values and re.fullmatch(r"[A-Za-z0-9_-]{20,100}", values[0]) else None

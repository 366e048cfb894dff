"""Which service answers a path, and what a caller needs to get there."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from libs.common.errors import LoginRequiredError
from services.gateway.errors import ScopeMissingError

Service = Literal["auth", "chat", "ai", "billing"]
SERVICES: tuple[Service, ...] = ("auth", "chat", "ai", "billing")

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9._~-]+)+|/")
_DOT_SEGMENT = re.compile(rb"/\.{1,2}(?:/|\Z)")
_PLAIN_QUERY = re.compile(rb"[!-~]*")
_BILLING_OF_OTHERS = re.compile(
    r"/admin/(?:stripe-event(?:/.+)?|user/[^/]+/(?:billing|grant)(?:/.+)?)"
)
ANSWERED = re.compile(r"/chatroom/[^/]+/message(?:/[^/]+(?:/regenerate)?)?")
"""Paths whose POST or PATCH is accepted and answered by a reply."""

OPENAI_PREFIX = "/openai/"
"""Of paths whose errors are written as OpenAI writes them."""

_LIVE_REPLY = re.compile(r"/chatroom/[^/]+(?:/message/[^/]+)?/stream")


class Access(Enum):
    """What a request has to pass before it is forwarded."""

    TOKEN = "token"  # noqa: S105 - a valid token, and the user's rate limit
    ANYONE = "anyone"
    """The rate limit of the address."""
    UNLIMITED = "unlimited"
    """Nothing: a sign of life, and webhooks, whose sender signs them."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads; `service` is None for the gateway's own."""

    service: Service | None
    access: Access


_OWN = Route(None, Access.ANYONE)
_LIVE = Route(None, Access.TOKEN)

_EXACT = {
    "/health/live": Route(None, Access.UNLIMITED),
    "/.well-known/jwks.json": Route("auth", Access.ANYONE),
    "/auth/logout": Route("auth", Access.TOKEN),
    "/auth/session": Route("auth", Access.TOKEN),
    "/auth/upgrade": Route("auth", Access.TOKEN),
    "/event": _LIVE,
    "/ws/ticket": _LIVE,
    "/user/me/export": _LIVE,
    "/webhook/stripe": Route("billing", Access.UNLIMITED),
    "/subscription/complete": Route("billing", Access.ANYONE),
    "/subscription/cancelled": Route("billing", Access.ANYONE),
    "/subscription/returned": Route("billing", Access.ANYONE),
}
_BY_FIRST_SEGMENT = {
    "admin": Route("auth", Access.TOKEN),
    "auth": Route("auth", Access.ANYONE),
    "user": Route("auth", Access.TOKEN),
    "chatroom": Route("chat", Access.TOKEN),
    "search": Route("chat", Access.TOKEN),
    "usage": Route("ai", Access.TOKEN),
    "quota": Route("chat", Access.TOKEN),
    "openai": _LIVE,
    "agent": Route("ai", Access.TOKEN),
    "model": Route("ai", Access.TOKEN),
    "subscribe": Route("billing", Access.TOKEN),
    "subscription": Route("billing", Access.TOKEN),
    "invoice": Route("billing", Access.TOKEN),
}


_READABLE_BY_KEYS = frozenset({"/user/me", "/subscription/status"})
"""What a key that may read sees of its user's account."""

_OPEN_TO_KEYS = frozenset(
    {"chatroom", "search", "quota", "usage", "openai", "agent", "model", "event", "ws"}
)
"""First segments of the paths that an API key opens: none of them manages an account."""

_READING = frozenset({"GET", "HEAD"})


def is_plain(raw_path: bytes, query: bytes) -> bool:
    """Return whether every server reads this target alike.

    Percent-encoding, empty and dot segments, control bytes and everything beyond ASCII are refused:
    no path of ours needs them, and two servers that disagree on them are a way around the table.
    """
    return (
        _PLAIN_PATH.fullmatch(raw_path) is not None
        and _DOT_SEGMENT.search(raw_path) is None
        and _PLAIN_QUERY.fullmatch(query) is not None
    )


def route_of(method: str, path: str) -> Route:
    """Return where a plain path leads; one that nobody knows is the gateway's own, a 404."""
    if (exact := _EXACT.get(path)) is not None:
        return exact
    route = _BY_FIRST_SEGMENT.get(path.split("/", 2)[1], _OWN)
    if _BILLING_OF_OTHERS.fullmatch(path):
        return _BY_FIRST_SEGMENT["subscription"]
    if path.startswith("/auth/session/"):
        return _EXACT["/auth/session"]
    if route.service == "chat" and method == "GET" and _LIVE_REPLY.fullmatch(path):
        return _LIVE
    return route


def ensure_in_scope(scopes: frozenset[str] | None, method: str, path: str) -> None:
    """Refuse what the caller's API key is not for; a login, without scopes, is for everything.

    Raises:
        ScopeMissingError: another key could do this.
        LoginRequiredError: no key can.
    """
    if scopes is None:
        return
    is_read = method in _READING
    if path.split("/", 2)[1] in _OPEN_TO_KEYS:
        if not (scopes & {"chat", "read"} if is_read else "chat" in scopes):
            raise ScopeMissingError("read" if is_read else "chat")
    elif not is_read or path not in _READABLE_BY_KEYS:
        raise LoginRequiredError
    elif "read" not in scopes:
        raise ScopeMissingError("read")

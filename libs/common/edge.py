"""The outermost ASGI layer of a service: request ids, body limits, the last catch, one log line."""

import re
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

import orjson
import structlog
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.clock import new_id
from libs.common.db import OUTAGES
from libs.common.errors import (
    MalformedError,
    PayloadTooLargeError,
    ThoughtflowError,
    UnavailableError,
    UnsupportedMediaError,
)
from libs.common.metrics import count_refusal, count_request, method_label
from libs.common.tracing import HEADER, traced

log = structlog.stdlib.get_logger()
MAX_BODY = 1 << 20
"""Bytes of a request body at most."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROBLEM = b"application/problem+json"
METRICS_PATH = "/metrics"
_DEFAULTS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


Endpoint = Callable[[Request], Awaitable[Response]]


class Edge:
    """Wraps an ASGI app; every answer carries `X-Request-Id` and no cache keeps it.

    Args:
        app: what is wrapped.
        direct: endpoints by method and path that are called here and not by `app`: matching routes
            and its own middleware cost FastAPI more than all the rest of a cached answer.
    """

    def __init__(
        self, app: ASGIApp, direct: Mapping[tuple[str, str], Endpoint] | None = None
    ) -> None:
        self._app = app
        self._direct = direct or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        name = method_label(scope["method"])
        with traced(name, SpanKind.SERVER, headers.get(HEADER)):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = perf_counter()
        status, head_at = 0, 0.0

        async def send_marked(message: Message) -> None:
            nonlocal status, head_at
            if message["type"] == "http.response.start":
                status, head_at = message["status"], perf_counter()
                given = message["headers"]
                present = {name for name, _ in given}
                message["headers"] = [
                    *given,
                    (b"x-request-id", request_id.encode()),
                    *(pair for pair in _DEFAULTS if pair[0] not in present),
                ]
            await send(message)

        try:
            await self._serve(scope, receive, send_marked)
        except Exception as exc:  # noqa: BLE001 - the outermost layer: every request gets an answer
            error = _translated(exc)
            count_refusal(error)
            if status == 0:
                await send_problem(send_marked, error, request_id)
        finally:
            if not _is_probe(scope["path"]):
                route, ended = self._route(scope), perf_counter()
                count_request(scope["method"], route, status, (head_at or ended) - started)
                log.info(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    duration_ms=round((ended - started) * 1000, 1),
                )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        refuse_unreadable(scope["method"], Headers(scope=scope))
        direct = self._direct.get((scope["method"], scope["path"]))
        if direct is None:
            await self._app(scope, _limited(receive), send)
        else:
            response = await direct(Request(scope, receive))
            await response(scope, receive, send)

    def _route(self, scope: Scope) -> str | None:
        """Return the path's template, which names nobody."""
        if (scope["method"], scope["path"]) in self._direct:
            return str(scope["path"])
        return getattr(scope.get("route"), "path", None)


def _is_probe(path: str) -> bool:
    """Tell whether nobody's request but a machine's look at us is at that path."""
    return path.startswith("/health/") or path == METRICS_PATH


def _translated(exc: Exception) -> ThoughtflowError:
    if isinstance(exc, ThoughtflowError):
        return exc
    if isinstance(exc, OUTAGES):
        log.warning("dependency_away", exc_info=exc)
        return UnavailableError(
            "the database does not answer right now; try again", headers={"Retry-After": "2"}
        )
    log.error("request_crashed", exc_info=exc)
    return ThoughtflowError("something went wrong on our side; it has been logged")


def request_id_of(headers: Headers) -> str:
    """Return the caller's `X-Request-Id` if it is a plain token, else a fresh one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else str(new_id())


def refuse_unreadable(method: str, headers: Headers) -> None:
    """Refuse a body that is too large, compressed or not JSON, before any of it is read.

    Raises:
        PayloadTooLargeError: `Content-Length` is over `MAX_BODY`.
        UnsupportedMediaError: there is a body and it is compressed or not JSON.
        MalformedError: `Content-Length` is no number.
    """
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise MalformedError("Content-Length is not a number")
    if int(length) > MAX_BODY:
        raise PayloadTooLargeError(f"send at most {MAX_BODY} bytes")
    has_body = int(length) > 0 or "transfer-encoding" in headers
    if method in {"GET", "HEAD", "OPTIONS"} or not has_body:
        return
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaError("send the body uncompressed")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaError("send the body as Content-Type: application/json")


def _limited(receive: Receive) -> Receive:
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            # An HTTPException, because FastAPI turns any other error while reading into a 400.
            raise HTTPException(413, f"send at most {MAX_BODY} bytes")
        return message

    return receive_limited


def problem_bytes(error: ThoughtflowError, request_id: str) -> bytes:
    """Return the problem document as it goes over the wire."""
    document: dict[str, Any] = {**error.problem(), "request_id": request_id}
    return orjson.dumps(document, default=str)


async def send_problem(send: Send, error: ThoughtflowError, request_id: str) -> None:
    """Answer with the problem document of `error`."""
    body = problem_bytes(error, request_id)
    headers = [(b"content-type", PROBLEM), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Forwards one request to a service and its answer to the client; bodies are never parsed."""

import asyncio

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from libs.common.edge import MAX_BODY, refuse_unreadable
from libs.common.errors import MethodNotAllowedError, PayloadTooLargeError, ThoughtflowError
from libs.common.tracing import traceparent
from services.gateway.limits import ResponseHeaders, combined
from services.gateway.response import UpstreamResponse
from services.gateway.rules import forwarded_headers, returned_headers
from services.gateway.upstream import BODY_IDLE_TIMEOUT_S, Upstream, UpstreamRequest

log = structlog.stdlib.get_logger()
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS = _WITH_BODY | {"GET", "HEAD", "OPTIONS"}


class ClientGoneError(Exception):
    """The client left before it had sent its request."""


async def forward(
    upstream: Upstream,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    client_ip: str,
    request_id: str,
    extra: ResponseHeaders,
) -> None:
    """Serve one request whose path and caller are accepted.

    Raises:
        ThoughtflowError: there is nothing to return; no byte has been sent.
        ClientGoneError: nobody waits for an answer.
    """
    method: str = scope["method"]
    if method not in _METHODS:
        raise MethodNotAllowedError("this path has other methods; see /docs")
    body = None
    if method in _WITH_BODY:
        refuse_unreadable(method, Headers(scope=scope))
        body = await read_body(receive)
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"]
    request = UpstreamRequest(
        method=method,
        target=b"%b?%b" % (target, query) if query else target,
        headers=forwarded_headers(
            scope["headers"],
            client_ip=client_ip,
            request_id=request_id,
            traceparent=traceparent(),
        ),
        body=body,
    )
    response = await upstream.send(request)
    try:
        await _relay(response, receive, send, request_id=request_id, extra=extra)
    finally:
        response.close()


async def read_body(receive: Receive) -> bytes:
    """Return the whole body.

    Raises:
        PayloadTooLargeError: it is longer than `MAX_BODY`.
        ClientGoneError: the client left in the middle of it.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise PayloadTooLargeError(f"send at most {MAX_BODY} bytes")
        if not message.get("more_body", False):
            return bytes(body)


async def _relay(
    response: UpstreamResponse,
    receive: Receive,
    send: Send,
    *,
    request_id: str,
    extra: ResponseHeaders,
) -> None:
    headers = returned_headers(response.headers, status=response.status)
    headers.append((b"x-request-id", request_id.encode()))
    start = {
        "type": "http.response.start",
        "status": response.status,
        "headers": list(combined(headers, extra)) if extra else headers,
    }
    await send(start)
    if response.complete:
        await _relay_body(response, send)
        return
    watch = asyncio.create_task(_close_when_gone(response, receive))
    try:
        await _relay_body(response, send)
    finally:
        watch.cancel()


async def _relay_body(response: UpstreamResponse, send: Send) -> None:
    more = True
    while more:
        try:
            chunk = await response.read(BODY_IDLE_TIMEOUT_S)
        except ThoughtflowError as exc:
            # The server closes a connection whose answer we do not end: the client sees the cut.
            if not response.given_up:
                log.warning("answer_cut", error=exc.code)
            return
        more = not response.is_drained
        await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def _close_when_gone(response: UpstreamResponse, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    response.give_up()

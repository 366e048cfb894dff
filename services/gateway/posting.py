"""A message whose sender waits for the reply in the same request.

`Accept: text/event-stream` turns the answer into the reply's stream, `Prefer: wait=N` (RFC 7240)
holds it back until the reply is there, N seconds at most. The post itself is forwarded as any
other, and whatever refuses it answers as always. Leaving never stops the reply.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from libs.common.edge import refuse_unreadable
from libs.common.errors import ThoughtflowError
from libs.common.identity import Identity
from libs.common.tracing import traceparent
from services.gateway.asking import Answer, ask
from services.gateway.limits import ResponseHeaders, combined
from services.gateway.live import LiveReply, View, open_view
from services.gateway.proxy import read_body
from services.gateway.replay import SSE, Wire, sse
from services.gateway.resources import Resources
from services.gateway.routes import ANSWERED
from services.gateway.rules import forwarded_headers, returned_headers
from services.gateway.streams import EventStream, Following, leave_when_gone
from services.gateway.upstream import UpstreamRequest
from services.gateway.wires import Collecting

log = structlog.stdlib.get_logger()
MAX_WAIT_S = 60
SETTLED_S = 2.0
"""Seconds that a finished reply is held back at most, until chat has it, too: who gets it may edit
at once, and is not to be told that it is being written."""

_ACCEPTED = 202
_CREATED = 201
_WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:;|\Z)", re.IGNORECASE)
_OF_THE_BODY = frozenset({b"content-length", b"content-type", b"cache-control"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the sender waits: for a stream, or `wait_s` seconds (1 to 60) for all of it."""

    wait_s: int | None


def waiting_of(method: str, path: str, headers: Headers) -> Waiting | None:
    """Return how the sender of a message wants to wait, None for the 202 or another request."""
    if method not in {"POST", "PATCH"} or not ANSWERED.fullmatch(path):
        return None
    if "text/event-stream" in headers.get("accept", "").lower():
        return Waiting(None)
    for preferences in headers.getlist("prefer"):
        for preference in preferences.split(","):
            found = _WAIT.match(preference)
            if found and int(found[1]) > 0:
                return Waiting(min(int(found[1]), MAX_WAIT_S))
    return None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and what its answer carries besides."""

    scope: Scope
    receive: Receive
    send: Send
    identity: Identity
    client_ip: str
    request_id: str
    extra: ResponseHeaders


async def post_and_wait(res: Resources, waiting: Waiting, exchange: Exchange) -> None:
    """Serve a request of which `waiting_of` says so.

    Raises:
        ThoughtflowError: the message was not accepted; no byte has been sent.
        ClientGoneError: nobody waits for an answer.
    """
    answer = await _post(res, exchange)
    following, collecting = None, Collecting()
    if answer.status == _ACCEPTED:
        wire = SSE if waiting.wait_s is None else collecting.wire
        following = await _follow(res, exchange, answer, wire)
    if following is None:
        await _answer(exchange, answer.status, answer.body, answer.headers)
    elif waiting.wait_s is None:
        await _stream(exchange, answer, following)
    else:
        await _hold(exchange, answer, following, collecting, waiting.wait_s)


async def _post(res: Resources, exchange: Exchange) -> Answer:
    scope = exchange.scope
    refuse_unreadable(scope["method"], Headers(scope=scope))
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"]
    request = UpstreamRequest(
        method=scope["method"],
        target=b"%b?%b" % (target, query) if query else target,
        headers=forwarded_headers(
            scope["headers"],
            client_ip=exchange.client_ip,
            request_id=exchange.request_id,
            traceparent=traceparent(),
        ),
        body=await read_body(exchange.receive),
    )
    return await ask(res.upstreams["chat"], request)


async def _follow(
    res: Resources, exchange: Exchange, answer: Answer, wire: Wire
) -> LiveReply | None:
    """Return the reply's events; None if they cannot be had, as the message is accepted anyway."""
    try:
        view = View(
            chatroom_id=UUID(exchange.scope["path"].split("/")[2]),
            reply_id=UUID(answer.document()["reply"]["id"]),
            user_id=exchange.identity.user_id,
            authorization=Headers(scope=exchange.scope)["authorization"],
            request_id=exchange.request_id,
            cursor=None,
            login=exchange.identity,
        )
        return await open_view(res, view, wire)
    except (ThoughtflowError, KeyError, ValueError) as exc:
        log.warning("reply_not_followed", error=type(exc).__name__)
        return None


async def _stream(exchange: Exchange, answer: Answer, following: Following) -> None:
    first = sse("message.created", {"type": "message.created", **answer.document()})
    named = dict(combined(_kept(answer.headers).items(), _extra(exchange)))
    headers = {name.decode(): value.decode("latin-1") for name, value in named.items()}
    stream = EventStream(following, before=first, headers=headers)
    await stream(exchange.scope, exchange.receive, exchange.send)


async def _hold(
    exchange: Exchange, answer: Answer, following: LiveReply, collecting: Collecting, wait_s: int
) -> None:
    watch = asyncio.create_task(leave_when_gone(exchange.receive, following))
    timer = asyncio.get_running_loop().call_later(wait_s, following.leave)
    try:
        async for _ in following.events():
            pass
    finally:
        timer.cancel()
        watch.cancel()
        await following.close()
    if collecting.end is None:
        await _answer(exchange, answer.status, answer.body, answer.headers)
        return
    await following.settle(SETTLED_S)
    document: dict[str, Any] = answer.document()
    document["reply"] |= {
        "status": collecting.status,
        "content": collecting.text,
        "finish_reason": collecting.end["finish_reason"],
        "problem": collecting.end["problem"],
    }
    headers = [*answer.headers, (b"preference-applied", b"wait=%d" % wait_s)]
    await _answer(exchange, _CREATED, orjson.dumps(document), headers)


async def _answer(
    exchange: Exchange, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            *combined(returned_headers(kept, status=status), _extra(exchange)),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    await exchange.send(start)
    await exchange.send({"type": "http.response.body", "body": body})


def _kept(headers: list[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Return the answer's headers that still hold for a stream in its place."""
    returned = returned_headers(headers, status=_ACCEPTED)
    return {name: value for name, value in returned if name not in _OF_THE_BODY}


def _extra(exchange: Exchange) -> ResponseHeaders:
    return (b"x-request-id", exchange.request_id.encode()), *exchange.extra

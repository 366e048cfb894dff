"""The gateway's endpoints around events: the feed, tickets for the WebSocket, the AI SDK's view."""

from typing import Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from libs.common.errors import NotFoundError, ValidationFailedError
from libs.common.http import DirectRoute
from libs.common.identity import Identity, bearer_token
from libs.common.replies import TERMINAL
from services.gateway.asking import ask, header_lines
from services.gateway.errors import BrokenAnswerError
from services.gateway.feed_live import open_feed, poll_feed
from services.gateway.live import View, open_view
from services.gateway.replay import cursor_of
from services.gateway.resources import Resources
from services.gateway.streams import EventStream
from services.gateway.tickets import TICKET_TTL_S
from services.gateway.upstream import UpstreamRequest
from services.gateway.wires import UIMessages

MAX_WAIT_S = 30
_NEWEST = 20
"""Messages among which the room's open reply is looked for."""

router = APIRouter(tags=["live"], route_class=DirectRoute)


def _parameter(name: str, place: str, what: str, kind: str = "string") -> dict[str, Any]:
    schema = {"type": kind}
    return {"name": name, "in": place, "description": what, "schema": schema}


_FEED_DOCS = {
    "security": [{"bearer": []}],
    "parameters": [
        _parameter("Last-Event-ID", "header", "the id of the last event that you have"),
        _parameter("after", "query", "the same, where headers cannot be set"),
        _parameter("wait", "query", "long-poll: seconds to wait, 0 to 30", "integer"),
    ],
    "responses": {
        "200": {
            "description": "The events, or with `Accept: application/json` "
            "`{data, cursor, has_more}`; poll again with `after=<cursor>`",
            "content": {
                "text/event-stream": {},
                "application/json": {
                    "schema": {"type": "object", "required": ["data", "cursor", "has_more"]},
                    "example": {"data": [], "cursor": "1764000000000-0", "has_more": False},
                },
            },
        }
    },
}
_TICKET_DOCS = {
    "security": [{"bearer": []}],
    "responses": {
        "201": {
            "description": "The ticket, and the seconds that it is good for",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["ticket", "expires_in"],
                        "properties": {
                            "ticket": {"type": "string"},
                            "expires_in": {"type": "integer"},
                        },
                    }
                }
            },
        }
    },
}
_ROOM_DOCS = {
    "security": [{"bearer": []}],
    "parameters": [
        {
            "name": "chatroom_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
    ],
}


@router.get("/event", openapi_extra=_FEED_DOCS, response_class=Response)
async def follow_feed(request: Request) -> Response:
    """Follow everything that is yours, from any device: rooms, messages, replies, your plan.

    Without a cursor it begins now, with `stream.ready`.
    """
    res = cast("Resources", request.app.state.resources)
    identity = cast("Identity", request.state.identity)  # the edge in front has verified it
    cursor = cursor_of(request.headers.get("last-event-id") or request.query_params.get("after"))
    accept = request.headers.get("accept", "").lower()
    if "application/json" in accept and "text/event-stream" not in accept:
        wait_s = _wait_s(request.query_params.get("wait", "0"))
        answer = await poll_feed(res, identity, cursor, wait_s)
        return Response(orjson.dumps(answer), media_type="application/json")
    feed = await open_feed(res, identity.user_id, cursor, login=identity)
    return EventStream(feed, compress=False)


@router.post("/ws/ticket", status_code=201, openapi_extra=_TICKET_DOCS, response_class=Response)
async def issue_ticket(request: Request) -> Response:
    """Issue a ticket for `/ws?ticket=...`, good once: for browsers, which cannot set headers."""
    res = cast("Resources", request.app.state.resources)
    ticket = await res.tickets.issue(bearer_token(request.headers.get("authorization")))
    body = {"ticket": ticket, "expires_in": TICKET_TTL_S}
    return Response(orjson.dumps(body), 201, media_type="application/json")


@router.get(
    "/chatroom/{chatroom_id}/stream",  # noqa: FAST003 - a DirectRoute
    openapi_extra=_ROOM_DOCS,
    response_class=Response,
    responses={
        200: {
            "description": "The parts of the reply, as `x-vercel-ai-ui-message-stream: v1`",
            "content": {
                "text/event-stream": {
                    "example": 'data: {"type":"text-delta","id":"1","delta":"Hello"}\n\n',
                }
            },
        },
        204: {"description": "No reply is being written"},
    },
)
async def stream_chatroom(request: Request) -> Response:
    """Follow the room's open reply as the AI SDK's UI message stream: `useChat` resumes."""
    res = cast("Resources", request.app.state.resources)
    identity = cast("Identity", request.state.identity)
    try:
        chatroom_id = UUID(request.path_params["chatroom_id"])
    except ValueError as exc:
        raise NotFoundError("there is no such chatroom; ids are UUIDs") from exc
    reply_id = await _open_reply(res, request, chatroom_id)
    if reply_id is None:
        return Response(status_code=204)
    view = View(
        chatroom_id=chatroom_id,
        reply_id=reply_id,
        user_id=identity.user_id,
        authorization=request.headers["authorization"],
        request_id=request.state.request_id,
        cursor=None,
        login=identity,
    )
    parts = UIMessages(str(reply_id))
    live = await open_view(res, view, parts.wire)
    return EventStream(live, before=parts.begin, after=parts.END, headers=parts.HEADERS)


async def _open_reply(res: Resources, request: Request, chatroom_id: UUID) -> UUID | None:
    """Return the oldest reply of the newest messages that has not ended: it is its turn."""
    headers = header_lines(request.headers["authorization"], request.state.request_id)
    target = f"/chatroom/{chatroom_id}/message?limit={_NEWEST}"
    answer = await ask(res.upstreams["chat"], UpstreamRequest("GET", target.encode(), headers))
    if answer.status == 404:
        raise NotFoundError("there is no such chatroom of yours")
    if answer.status != 200:
        raise BrokenAnswerError("the room cannot be looked up right now; try again")
    found = [
        UUID(message["id"])
        for message in answer.document()["data"]
        if message["role"] == "assistant" and message["status"] not in TERMINAL
    ]
    return min(found, default=None)


def _wait_s(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > MAX_WAIT_S:
        raise ValidationFailedError(f"wait is a whole number of seconds, 0 to {MAX_WAIT_S}")
    return int(text)

"""The gateway's own endpoints: the start page and live replies."""

from typing import cast
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from libs.common.errors import NotFoundError
from libs.common.http import DirectRoute
from libs.common.identity import Identity
from services.gateway.live import View, open_view
from services.gateway.replay import cursor_of
from services.gateway.resources import Resources
from services.gateway.streams import EventStream

START_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Thoughtflow</title>
<style>
body { font: 1rem/1.6 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }
</style>
<h1>Thoughtflow</h1>
<p>A backend for AI chat products: login by one-time code, chatrooms, replies that stream and
survive every disconnect, and plans that are paid for.</p>
<p>It is running. <a href="/docs">Try the API</a>, or read its
<a href="/openapi.json">OpenAPI document</a>.</p>
</html>
"""

_STREAM_DOCS = {
    "tags": ["live"],
    "security": [{"bearer": []}],
    "parameters": [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
        for name in ("chatroom_id", "reply_id")
    ]
    + [
        {"name": name, "in": place, "description": what, "schema": {"type": "string"}}
        for name, place, what in (
            ("Last-Event-ID", "header", "the id of the last event that you have; browsers send it"),
            ("after", "query", "the same, where headers cannot be set"),
        )
    ],
    "responses": {
        "200": {
            "description": "Events `generation.started`, `message.delta`, `generation.snapshot` "
            "(replaces all text so far) and, at the end, `generation.completed`, "
            "`generation.failed` or `generation.stopped`",
            "content": {"text/event-stream": {}},
        }
    },
}

router = APIRouter()
live_router = APIRouter(route_class=DirectRoute)


@router.get("/", include_in_schema=False)
async def start_page() -> HTMLResponse:
    """Say what this is."""
    return HTMLResponse(START_PAGE)


@live_router.get(
    "/chatroom/{chatroom_id}/message/{reply_id}/stream",  # noqa: FAST003 - a DirectRoute
    openapi_extra=_STREAM_DOCS,
    response_class=Response,
)
async def stream_reply(request: Request) -> Response:
    """Follow a reply while it is written, from any device, as often as you like.

    A reply that has ended is told as one snapshot and its end. Disconnecting never stops it.
    """
    res = cast("Resources", request.app.state.resources)
    identity = cast("Identity", request.state.identity)  # the edge in front has verified it
    try:
        chatroom_id = UUID(request.path_params["chatroom_id"])
        reply_id = UUID(request.path_params["reply_id"])
    except ValueError as exc:
        raise NotFoundError("there is no such reply; ids are UUIDs") from exc
    cursor = request.headers.get("last-event-id") or request.query_params.get("after")
    view = View(
        chatroom_id=chatroom_id,
        reply_id=reply_id,
        user_id=identity.user_id,
        authorization=request.headers["authorization"],
        request_id=request.state.request_id,
        cursor=cursor_of(cursor),
        login=identity,
    )
    return EventStream(await open_view(res, view))

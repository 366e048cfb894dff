"""Everything of a user's in one file, put together out of what each service tells."""

import asyncio
from typing import cast

import structlog
from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from libs.common.clock import utc_now
from libs.common.errors import ThoughtflowError
from libs.common.exports import PART_KEYS, PATH, document
from libs.common.http import DirectRoute
from services.gateway.asking import header_lines
from services.gateway.errors import BrokenAnswerError
from services.gateway.resources import Resources
from services.gateway.response import UpstreamResponse
from services.gateway.routes import SERVICES
from services.gateway.upstream import BODY_IDLE_TIMEOUT_S, UpstreamRequest

log = structlog.stdlib.get_logger()
FORMAT, VERSION = "thoughtflow.account", 1
Part = tuple[str, UpstreamResponse]
_EXAMPLE = {
    "format": FORMAT,
    "version": VERSION,
    "exported_at": "2026-11-23T12:00:00Z",
    "account": {},
    "billing": {},
    "usage": {},
    "chat": {"chatrooms": []},
}

router = APIRouter(tags=["user"], route_class=DirectRoute)


@router.get(
    "/user/me/export",
    openapi_extra={"security": [{"bearer": []}]},
    response_class=Response,
    responses={
        200: {
            "description": "A file: `format`, `version`, `exported_at`, `account`, `billing`, "
            "`usage` and `chat`, whose `chatrooms` are as `GET /chatroom/{id}/export` has them",
            "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
        }
    },
)
async def export_me(request: Request) -> Response:
    """Download everything of yours as one JSON file, however much it is.

    It is whole if it is JSON: if a part is lost on the way, the connection ends before the file.
    """
    res = cast("Resources", request.app.state.resources)
    headers = header_lines(request.headers["authorization"], request.state.request_id)
    parts: list[Part] = []
    try:
        for service in sorted(SERVICES, key=list(PART_KEYS).index):
            asked = UpstreamRequest("GET", PATH.encode(), headers)
            response = await res.upstreams[service].send(asked)
            parts.append((PART_KEYS[service], response))
            _ensure_told(response)
    except BaseException:
        _close(parts)
        raise
    return Archive(parts)


def _ensure_told(response: UpstreamResponse) -> None:
    if response.status != 200:
        raise BrokenAnswerError("not everything can be exported right now; try again")


class Archive(Response):
    """Sends the parts one after the other, each as fast as the client reads."""

    def __init__(self, parts: list[Part]) -> None:
        name = f'attachment; filename="thoughtflow-{utc_now():%Y-%m-%d}.json"'
        super().__init__(headers={"content-disposition": name}, media_type="application/json")
        del self.headers["content-length"]
        self._parts = parts

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(content: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": content, "more_body": more})

        watch = asyncio.create_task(self._give_up_when_gone(receive))
        head = {"format": FORMAT, "version": VERSION, "exported_at": utc_now()}
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await write(document(head)[:-1])
            for key, response in self._parts:
                await write(b',\n"' + key.encode() + b'":')
                while content := await response.read(BODY_IDLE_TIMEOUT_S):
                    await write(content)
            await write(b"}\n", more=False)
        except ThoughtflowError as exc:
            # The server closes a connection whose answer we do not end: the client sees the cut.
            log.warning("archive_cut", error=exc.code)
        finally:
            watch.cancel()
            _close(self._parts)

    async def _give_up_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        for _, response in self._parts:
            response.give_up()


def _close(parts: list[Part]) -> None:
    for _, response in parts:
        response.close()

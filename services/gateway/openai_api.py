"""The OpenAI bridge: `base_url=<gateway>/openai/v1`, and an API key or access token as `api_key`.

A completion is a hidden chatroom: what limits and answers messages does the same here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from libs.common.clock import utc_now
from libs.common.errors import NotFoundError, ThoughtflowError, UnavailableError
from libs.common.http import DirectRoute
from libs.common.identity import Identity
from services.gateway.asking import Answer, ask, header_lines
from services.gateway.completions import (
    DEFAULT_MODEL,
    DONE,
    Chunks,
    Completion,
    completion,
    failed,
    openai_error,
    parse_completion,
)
from services.gateway.live import View, open_view
from services.gateway.resources import Resources
from services.gateway.streams import EventStream
from services.gateway.upstream import UpstreamRequest
from services.gateway.wires import Collecting

Endpoint = Callable[[Request], Awaitable[Response]]
_PASSED_ON = ("retry-after", "ratelimit", "ratelimit-policy", "idempotent-replayed")

_NEVER = 2**53
"""Unix time, seconds."""

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["messages"]},
                "example": {
                    "model": DEFAULT_MODEL,
                    "messages": [{"role": "user", "content": "Hello"}],
                },
            }
        },
    },
    "security": [{"bearer": []}],
}

_COMPLETION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A completion, or with `stream` its chunks, as OpenAI has them",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["id", "object", "choices"]},
                "example": {
                    "id": "chatcmpl-01937f2e-6c00-7000-8000-000000000001",
                    "object": "chat.completion",
                    "created": 1764000000,
                    "model": DEFAULT_MODEL,
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Hello!"},
                            "finish_reason": "stop",
                        }
                    ],
                },
            },
            "text/event-stream": {
                "example": 'data: {"object":"chat.completion.chunk","choices":[]}\n\n',
            },
        },
    }
}
_MODELS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The models, as OpenAI lists them",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["object", "data"]},
                "example": {
                    "object": "list",
                    "data": [{"id": DEFAULT_MODEL, "object": "model"}],
                },
            }
        },
    }
}


def openai_refusal(error: ThoughtflowError) -> Response:
    """Return the answer by which OpenAI's clients understand `error`."""
    status, body = openai_error(error.problem())
    return Response(orjson.dumps(body, default=str), status, error.headers, "application/json")


def _answering(endpoint: Endpoint) -> Endpoint:
    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ThoughtflowError as exc:
            return openai_refusal(exc)

    return answer


router = APIRouter(prefix="/openai/v1", tags=["openai"], route_class=DirectRoute)


@router.post(
    "/chat/completions", response_class=Response, openapi_extra=_BODY, responses=_COMPLETION
)
@_answering
async def create_completion(request: Request) -> Response:
    """Answer a conversation that the client keeps, in OpenAI's format, whole or as a stream."""
    res = cast("Resources", request.app.state.resources)
    wanted = parse_completion(await request.body())
    answer = await _ask_chat(res, request, wanted)
    if answer.status >= 400:
        return _refused(answer)
    accepted = answer.document()
    reply_id = accepted["reply"]["id"]
    view = _view(request, accepted["message"]["chatroom_id"], reply_id)
    created = int(utc_now().timestamp())
    if wanted.stream:
        chunks = Chunks(reply_id, wanted.model, created)
        live = await open_view(res, view, chunks.wire)
        return EventStream(live, before=chunks.begin, after=DONE)
    collecting = Collecting()
    live = await open_view(res, view, collecting.wire)
    try:
        async for _ in live.events():
            pass
    finally:
        await live.close()
    if collecting.end is None:
        raise UnavailableError("the reply could not be followed to its end; send it again")
    if collecting.status == "failed":
        status, body = openai_error(failed(collecting))
        return _json(status, body)
    return _json(200, completion(reply_id, wanted.model, collecting, created))


@router.get(
    "/models",
    response_class=Response,
    openapi_extra={"security": [{"bearer": []}]},
    responses=_MODELS,
)
@_answering
async def list_openai_models(request: Request) -> Response:
    """List the models that the caller may choose."""
    res = cast("Resources", request.app.state.resources)
    answer = await ask(res.upstreams["ai"], UpstreamRequest("GET", b"/model", _headers(request)))
    if answer.status >= 400:
        return _refused(answer)
    allowed = [model for model in answer.document()["data"] if model.get("allowed", True)]
    data = [_model(DEFAULT_MODEL), *(_model(model["id"]) for model in allowed)]
    return _json(200, {"object": "list", "data": data})


@router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
@_answering
async def refuse_others(request: Request) -> Response:
    """Say that there is no more of OpenAI's API here, in its own words."""
    raise NotFoundError(f"there is nothing at {request.url.path}; see /docs")


async def _ask_chat(res: Resources, request: Request, wanted: Completion) -> Answer:
    body = orjson.dumps(wanted.question())
    question = UpstreamRequest("POST", b"/completion", _headers(request), body)
    return await ask(res.upstreams["chat"], question)


def _headers(request: Request) -> bytes:
    return header_lines(
        request.headers["authorization"],
        request.state.request_id,
        idempotency_key=request.headers.get("idempotency-key"),
    )


def _view(request: Request, chatroom_id: str, reply_id: str) -> View:
    identity = cast("Identity", request.state.identity)  # the edge in front has verified it
    return View(
        chatroom_id=UUID(chatroom_id),
        reply_id=UUID(reply_id),
        user_id=identity.user_id,
        authorization=request.headers["authorization"],
        request_id=request.state.request_id,
        cursor=None,
        # Not with its token: its client cannot come back to an answer, which ends soon anyway.
        login=replace(identity, expires_at=_NEVER),
    )


def _refused(answer: Answer) -> Response:
    status, body = openai_error({"status": answer.status, **answer.document()})
    named = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    headers = {name: named[name] for name in _PASSED_ON if name in named}
    return Response(orjson.dumps(body), status, headers, "application/json")


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _model(model_id: str) -> dict[str, Any]:
    return {"id": model_id, "object": "model", "created": 0, "owned_by": "thoughtflow"}

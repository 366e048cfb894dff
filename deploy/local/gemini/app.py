"""The routes: Google's under /v1 and /v1beta, the emulator's own under /_emulator."""

from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.gemini import answers, page
from deploy.local.gemini.answers import Pace
from deploy.local.gemini.catalogue import EMBED_DIMENSIONS, GENERATE, MODELS, Model, find_model
from deploy.local.gemini.embeddings import embed
from deploy.local.gemini.errors import GeminiError, bad_request
from deploy.local.gemini.faults import MODES, Fault, FaultBook
from deploy.local.gemini.journal import Entry, Journal, trimmed
from deploy.local.gemini.plan import Audience, Plan, Played
from deploy.local.gemini.reply import reply_to
from deploy.local.gemini.usage import count_contents, count_prompt
from deploy.local.gemini.wire import BatchEmbedRequest, CountRequest, GenerateRequest, parse

_MAX_BODY = 20 * 1024 * 1024  # Gemini's own limit for inline requests


class Emulator:
    """The endpoints and what they share: pace, faults, journal and the calls in progress."""

    def __init__(self, pace: Pace, log_size: int) -> None:
        self.audience = Audience()
        self._pace = pace
        self._faults = FaultBook()
        self._journal = Journal(log_size)

    def routes(self) -> list[Route]:
        """List every route the emulator answers."""
        google = [
            route
            for version in ("v1", "v1beta")
            for route in (
                Route(f"/{version}/models", self.list_models),
                Route(f"/{version}/models/{{name}}", self.get_model),
                Route(f"/{version}/models/{{name}}", self.call, methods=["POST"]),
            )
        ]
        return [
            *google,
            Route("/", self.show_page),
            Route("/_emulator/health", self.health),
            Route("/_emulator/requests", self.list_requests),
            Route("/_emulator/requests", self.clear_requests, methods=["DELETE"]),
            Route("/_emulator/faults", self.list_faults),
            Route("/_emulator/faults", self.add_fault, methods=["POST"]),
            Route("/_emulator/faults", self.clear_faults, methods=["DELETE"]),
        ]

    async def list_models(self, request: Request) -> Response:
        """Answer GET models: the whole catalogue on one page."""
        _ensure_key(request)
        return _json({"models": [model.as_json() for model in MODELS.values()]})

    async def get_model(self, request: Request) -> Response:
        """Answer GET models/{name}."""
        _ensure_key(request)
        model, _ = find_model(request.path_params["name"], _version(request))
        return _json(model.as_json())

    async def call(self, request: Request) -> Response:
        """Answer POST models/{name}:{method}, and log it whatever comes of it."""
        name, _, method = request.path_params["name"].partition(":")
        entry = self._journal.open(
            path=request.url.path,
            model=name,
            method=method,
            headers=request.headers,
            query=request.query_params,
        )
        try:
            plan = await self._plan(request, entry)
        except GeminiError as error:
            plan = answers.failure(error)
        except ClientDisconnect:
            entry.aborted = True
            entry.close()
            return Response(status_code=499)  # nobody is there to read it
        return Played(plan, entry, self.audience)

    async def _plan(self, request: Request, entry: Entry) -> Plan:
        _ensure_key(request)
        model, mode = find_model(entry.model, _version(request))
        if entry.method not in model.methods:
            message = f"models/{model.name} is not supported for {entry.method or 'a bare POST'}."
            raise GeminiError(404, f"{message} Supported: {', '.join(model.methods)}.")
        if entry.method == "streamGenerateContent" and request.query_params.get("alt") != "sse":
            raise GeminiError(400, "The emulator streams server-sent events only: add ?alt=sse.")
        data = await _read_json(request)
        entry.body = trimmed(data)
        if entry.method in GENERATE:
            return self._generate(model, mode, entry, parse(GenerateRequest, data))
        if entry.method == "countTokens":
            asked = parse(CountRequest, data)
            return self._answer(mode, entry, "", _count(asked))
        batch = parse(BatchEmbedRequest, data)
        return self._answer(mode, entry, batch.requests[-1].content.text, _embed(batch))

    def _generate(self, model: Model, mode: str, entry: Entry, asked: GenerateRequest) -> Plan:
        entry.last_user_text = trimmed(asked.last_user_text)
        fault = self._take(mode, entry, asked.last_user_text)
        if refused := answers.refusal(fault):
            return refused
        reply = reply_to(asked, model, fault)
        shape = answers.whole if entry.method == "generateContent" else answers.stream
        return shape(reply, fault, self._pace)

    def _answer(self, mode: str, entry: Entry, text: str, body: dict[str, Any]) -> Plan:
        fault = self._take(mode, entry, text)
        return answers.refusal(fault) or answers.single(body, fault, delay_s=0)

    def _take(self, mode: str, entry: Entry, text: str) -> Fault | None:
        if mode and mode not in MODES:
            message = f"no fault mode {mode!r}; there are: {', '.join(MODES)}"
            raise GeminiError(404, f"models/{entry.model} is not found: {message}.")
        fault = Fault(mode=mode) if mode else self._faults.take(entry.method, text)
        entry.fault = fault.mode if fault else None
        return fault

    async def health(self, _request: Request) -> Response:
        """Tell that the emulator is up."""
        return _json({"status": "ok"})

    async def list_requests(self, _request: Request) -> Response:
        """Show the request log, oldest first."""
        return _json(self._journal.as_json())

    async def clear_requests(self, _request: Request) -> Response:
        """Empty the request log."""
        self._journal.clear()
        return Response(status_code=204)

    async def list_faults(self, _request: Request) -> Response:
        """Show the faults still to come."""
        return _json({"faults": self._faults.as_json()})

    async def add_fault(self, request: Request) -> Response:
        """Order a fault for coming calls; the body is a `Fault`."""
        self._faults.add(parse(Fault, await _read_json(request)))
        return _json({"faults": self._faults.as_json()}, 201)

    async def clear_faults(self, _request: Request) -> Response:
        """Cancel every ordered fault."""
        self._faults.clear()
        return Response(status_code=204)

    async def show_page(self, _request: Request) -> Response:
        """Show people what is going on."""
        html = page.render(self._journal, self._faults)
        return Response(html, media_type="text/html; charset=utf-8")


def create_app(emulator: Emulator) -> Starlette:
    """Make the ASGI application around an emulator."""
    app = Starlette(
        routes=emulator.routes(),
        exception_handlers={GeminiError: _on_refusal, HTTPException: _on_http_error},
    )
    app.router.redirect_slashes = False
    return app


async def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GeminiError)  # noqa: S101 - as registered; tells the type checker
    return _json(error.as_json(), error.code)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered; tells the type checker
    message = f"{request.method} {request.url.path}: {error.detail}. GET / shows what is here."
    return _json(GeminiError(error.status_code, message).as_json(), error.status_code)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json; charset=UTF-8")


def _version(request: Request) -> str:
    return request.url.path.split("/")[1]


def _ensure_key(request: Request) -> None:
    if not request.headers.get("x-goog-api-key") and not request.query_params.get("key"):
        message = (
            "No API key: send one (any will do here) as x-goog-api-key header or key parameter."
        )
        raise GeminiError(403, message)


async def _read_json(request: Request) -> Any:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_BODY:
            raise GeminiError(400, f"The request is larger than {_MAX_BODY} bytes.")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request([("", f"Invalid JSON payload received: {error}.")]) from error
    if not isinstance(data, dict):
        raise bad_request([("", "Invalid JSON payload received: it must be an object.")])
    return data


def _count(asked: CountRequest) -> dict[str, Any]:
    whole = asked.generate_content_request
    tokens = count_prompt(whole) if whole else count_contents(asked.contents)
    return {"totalTokens": tokens.total, "promptTokensDetails": tokens.details()}


def _embed(batch: BatchEmbedRequest) -> dict[str, Any]:
    return {
        "embeddings": [
            {"values": embed(each.content.text, each.output_dimensionality or EMBED_DIMENSIONS)}
            for each in batch.requests
        ]
    }

"""The gateway's composition root, and the ASGI app that every request enters by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from libs.common.edge import request_id_of, send_problem
from libs.common.errors import NotFoundError, ThoughtflowError
from libs.common.http import create_service
from libs.common.identity import bearer_token
from libs.common.metrics import count_refusal, method_label
from libs.common.server import STOPPING
from libs.common.tracing import HEADER, traced
from services.gateway import api, archive_api, event_api, openai_api
from services.gateway.consumers import consuming
from services.gateway.credentials import Caller
from services.gateway.errors import RateLimitedError
from services.gateway.limits import ResponseHeaders, combined
from services.gateway.metrics import Watched, serving
from services.gateway.posting import Exchange, post_and_wait, waiting_of
from services.gateway.proxy import ClientGoneError, forward
from services.gateway.resources import Resources, open_resources
from services.gateway.routes import (
    OPENAI_PREFIX,
    Access,
    Route,
    ensure_in_scope,
    is_plain,
    route_of,
)
from services.gateway.rules import RawHeaders
from services.gateway.settings import Settings
from services.gateway.sockets import serve_socket

log = structlog.stdlib.get_logger()
_LIMITS = "limits"
"""Of a request's state: what its answer says about the limit that let it pass."""

_SERVICE = "service"
"""Likewise: the service that a request is for, None for the gateway itself."""

DESCRIPTION = "Errors are `application/problem+json` with a stable `code`."


def create_app(settings: Settings) -> "Gateway":
    """Return the gateway; its lifespan opens and closes what it needs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_resources(settings) as res,
            consuming(res),
            serving(settings.host, settings.metrics_port),
        ):
            app.state.resources = res
            app.state.probes = {"upstreams": res.upstreams["auth"].probe}
            yield

    own = create_service(
        "Thoughtflow",
        lifespan=lifespan,
        routers=[
            api.router,
            api.live_router,
            event_api.router,
            openai_api.router,
            archive_api.router,
        ],
        make_app=FastAPIOffline,
        docs_url="/docs",
        version="1",
        description=DESCRIPTION,
    )
    gateway = Gateway(own)

    def openapi() -> dict[str, Any]:
        res = cast("Resources", own.state.resources)
        return res.document.merged_with(gateway.own_document())

    own.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend it
    return gateway


class Gateway:
    """Serves what is behind the gateway by forwarding, and the rest by the app inside."""

    def __init__(self, own: FastAPI) -> None:
        self._own = own
        self._make_document = own.openapi

    def own_document(self) -> dict[str, Any]:
        """Return the documentation of what the gateway does not forward."""
        document = self._make_document()
        paths = {path: of for path, of in document["paths"].items() if "/health/" not in path}
        return {**document, "paths": paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            res = cast("Resources", self._own.state.resources)
            client_ip = _client_ip(res, scope, Headers(scope=scope))
            await serve_socket(res, scope, receive, send, client_ip=client_ip)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the lifespan; open streams learn at once when the server begins to end."""

        async def drain(stopping: asyncio.Event) -> None:
            await stopping.wait()
            cast("Resources", self._own.state.resources).draining.start()

        stopping = scope.get("state", {}).get(STOPPING)
        task = asyncio.create_task(drain(stopping)) if stopping is not None else None
        try:
            await self._own(scope, receive, send)
        finally:
            if task is not None:
                task.cancel()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        watched = Watched(
            _with_headers(send, cast("Resources", self._own.state.resources).cors.marks(headers))
        )
        parent = headers.get(HEADER)
        try:
            with traced(f"gateway {method_label(scope['method'])}", SpanKind.SERVER, parent):
                await self._answer(scope, receive, watched, headers, request_id)
        finally:
            service = scope.get("state", {}).get(_SERVICE) or "gateway"
            watched.count(scope["method"], service)

    async def _answer(
        self, scope: Scope, receive: Receive, watched: Watched, headers: Headers, request_id: str
    ) -> None:
        try:
            await self._handle(scope, receive, watched, headers, request_id)
        except ThoughtflowError as exc:
            count_refusal(exc)
            send = _with_limits(watched, scope, exc)
            if scope["path"].startswith(OPENAI_PREFIX):
                refusal = openai_api.openai_refusal(exc)
                await refusal(scope, receive, _marked(send, request_id))
            else:
                await send_problem(_marked(send, request_id), exc, request_id)
        except ClientGoneError:
            return
        except Exception:
            # The outermost loop: one bad request must not take others along.
            log.exception("request_crashed", request_id=request_id)
            if not watched.status:
                error = ThoughtflowError("something went wrong on our side; it has been logged")
                await send_problem(_marked(watched, request_id), error, request_id)

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str
    ) -> None:
        res = cast("Resources", self._own.state.resources)
        if (allowed := res.cors.preflight(scope["method"], headers)) is not None:
            await _send_empty(_marked(send, request_id), allowed)
            return
        if not is_plain(scope["raw_path"], scope["query_string"]):
            raise NotFoundError("there is nothing at this path; see /docs")
        route = route_of(scope["method"], scope["path"])
        scope.setdefault("state", {})[_SERVICE] = route.service
        client_ip = _client_ip(res, scope, headers)
        caller, extra = await _admit(
            res, route, headers, client_ip, for_openai=scope["path"].startswith(OPENAI_PREFIX)
        )
        scope["state"][_LIMITS] = extra
        identity = caller.identity if caller else None
        if caller is not None:
            ensure_in_scope(caller.identity.scopes, scope["method"], scope["path"])
            if caller.is_exchanged:
                scope["headers"] = _authorized(scope["headers"], caller.token)
        if route.service is None:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"] + [
                (b"x-request-id", request_id.encode())
            ]
            scope["state"]["identity"] = identity
            await self._own(scope, receive, _with_headers(send, extra))
            return
        waiting = waiting_of(scope["method"], scope["path"], headers)
        if waiting is not None and identity is not None:
            await post_and_wait(
                res,
                waiting,
                Exchange(scope, receive, send, identity, client_ip, request_id, extra),
            )
            return
        upstream = res.upstreams[route.service]
        await forward(
            upstream, scope, receive, send, client_ip=client_ip, request_id=request_id, extra=extra
        )


def _client_ip(res: Resources, scope: Scope, headers: Headers) -> str:
    peer = scope["client"][0] if scope["client"] else ""
    hops = headers.getlist("x-forwarded-for") if res.clients.trust_proxies else ()
    return res.clients.client_ip(peer, ",".join(hops))


async def _admit(
    res: Resources, route: Route, headers: Headers, client_ip: str, *, for_openai: bool
) -> tuple[Caller | None, ResponseHeaders]:
    """Let a request pass, and return whose it is and what the answer says about the limit.

    A caller without a valid token or key counts for its address, so that guessing is limited too.

    Raises:
        UnauthenticatedError: the path wants a token and there is no valid one.
        RateLimitedError: one request too many.
    """
    if route.access is Access.UNLIMITED:
        return None, ()
    caller, refusal = None, None
    if route.access is Access.TOKEN:
        try:
            token = bearer_token(headers.get("authorization"))
            caller = await res.credentials.identify(token, client_ip)
        except ThoughtflowError as exc:
            refusal = exc
    identity = caller.identity if caller else None
    extra = await res.limiter.admit(
        identity,
        client_ip,
        asyncio.get_running_loop().time(),
        token=caller.token if caller else None,
        for_openai=for_openai,
    )
    if refusal is not None:
        raise refusal
    return caller, extra


def _authorized(headers: RawHeaders, token: str) -> list[tuple[bytes, bytes]]:
    """Return the headers with the access token that the services know, in the key's place."""
    kept = [pair for pair in headers if pair[0] != b"authorization"]
    return [*kept, (b"authorization", f"Bearer {token}".encode())]


def _with_headers(send: Send, extra: ResponseHeaders) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = list(combined(message["headers"], extra))
        await send(message)

    return send_with_headers if extra else send


def _with_limits(send: Send, scope: Scope, error: ThoughtflowError) -> Send:
    """Let a refusal tell of the limit that let the request pass; one by a limit tells of itself."""
    extra = scope.get("state", {}).get(_LIMITS, ())
    return send if isinstance(error, RateLimitedError) else _with_headers(send, extra)


async def _send_empty(send: Send, headers: ResponseHeaders) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


def _marked(send: Send, request_id: str) -> Send:
    marks = (
        (b"x-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    )
    return _with_headers(send, marks)

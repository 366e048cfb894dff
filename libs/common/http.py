"""How every service looks over HTTP: problem documents, health, one OpenAPI document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from libs.common.edge import METRICS_PATH, PROBLEM, Edge, problem_bytes
from libs.common.errors import (
    MalformedError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    ThoughtflowError,
    ValidationFailedError,
)
from libs.common.identity import BearerIdentity, Identity
from libs.common.metrics import count_refusal

PROBE_TIMEOUT_S = 2.0
Probes = Mapping[str, Callable[[], Awaitable[object]]]
"""Name of a dependency and a call that raises, returns False or hangs while it is away."""

CurrentUser = Annotated[Identity, Depends(BearerIdentity())]


class Body(BaseModel):
    """Base of request bodies: a field that we do not know is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Problem(BaseModel):
    """RFC 9457 problem document; `code` is what a program should look at."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class DirectRoute(APIRoute):
    """A hot endpoint of the form `async (Request) -> Response`, on a path without parameters.

    FastAPI documents it like any other, and `Edge` calls it.
    """


def create_service(
    title: str,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    routers: Sequence[APIRouter],
    make_app: Callable[..., FastAPI] = FastAPI,
    **options: Any,
) -> FastAPI:
    """Return an app with the project's errors and health; `app.state.probes` tells readiness.

    `lifespan` sets `app.state.probes` (see `Probes`), and `app.state.verifier` where endpoints ask
    for `CurrentUser`.
    """
    options = {"docs_url": None, "redoc_url": None, **options}
    app = make_app(
        title=title,
        lifespan=lifespan,
        redirect_slashes=False,  # it would reflect the Host header
        responses={"default": {"model": Problem, "description": "Problem"}},
        **options,
    )
    direct = {
        (method, route.path): route.endpoint
        for router in routers
        for route in router.routes
        if isinstance(route, DirectRoute)
        for method in route.methods or ()
    }
    app.state.asking = {}
    app.add_middleware(Edge, direct=direct)
    app.add_exception_handler(ThoughtflowError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.include_router(_health)
    for router in routers:
        app.include_router(router)
    return app


def _answer(request: Request, error: ThoughtflowError) -> Response:
    count_refusal(error)
    body = problem_bytes(error, request.state.request_id)
    return Response(body, error.status, error.headers, PROBLEM.decode())


def _on_error(request: Request, exc: Exception) -> Response:
    return _answer(request, cast(ThoughtflowError, exc))


def _on_http_exception(request: Request, exc: Exception) -> Response:
    exc = cast(HTTPException, exc)
    headers = exc.headers
    match exc.status_code:
        case 404:
            error: ThoughtflowError = NotFoundError("there is nothing at this path; see /docs")
        case 405:
            error = MethodNotAllowedError("this path has other methods; see /docs", headers=headers)
        case 413:
            error = PayloadTooLargeError(exc.detail)
        case _:
            error = MalformedError("the body cannot be read as JSON")
    return _answer(request, error)


def _on_invalid(request: Request, exc: Exception) -> Response:
    errors = cast(RequestValidationError, exc).errors()
    if any(error["type"] == "json_invalid" for error in errors):
        return _answer(request, MalformedError("the body is not valid JSON"))
    listed = [
        {
            # JSON Pointer (RFC 6901) into the body, or the parameter's place and name.
            "pointer": "/" + "/".join(_escaped(part) for part in _location(error["loc"])),
            "code": error["type"],
            "detail": error["msg"].removeprefix("Value error, "),
        }
        for error in errors
    ]
    detail = "; ".join(f"{error['pointer']}: {error['detail']}" for error in listed[:3])
    return _answer(request, ValidationFailedError(detail, extra={"errors": listed[:20]}))


def _location(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    return loc[1:] if loc[0] == "body" else loc


def _escaped(part: object) -> str:
    text = str(part)[:100].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


_health = APIRouter(prefix="/health", tags=["health"])


@_health.get("/live")
async def live() -> dict[str, str]:
    """Answer while the process runs, whatever its dependencies do."""
    return {"status": "ok"}


@_health.get("/ready")
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Answer 200 while every dependency answers within 2 s, else 503; `checks` names each."""
    state = request.app.state
    checks = await _ask_all(state.probes, state.asking)
    good = all(checks.values())
    response.status_code = 200 if good else 503
    return {"status": "ok" if good else "unavailable", "checks": checks}


async def _ask_all(probes: Probes, asking: dict[str, asyncio.Task[bool]]) -> dict[str, bool]:
    """Tell which dependencies answer in time; who still waits for one that hangs asks it no more.

    A call is not cancelled: asyncpg would ask a server that hangs to cancel it, and wait for that.
    """
    for name, probe in probes.items():
        if name not in asking or asking[name].done():
            asking[name] = asyncio.create_task(_probe(probe))
    await asyncio.wait(asking.values(), timeout=PROBE_TIMEOUT_S)
    return {name: task.done() and task.result() for name, task in asking.items()}


async def _probe(probe: Callable[[], Awaitable[object]]) -> bool:
    try:
        return await probe() is not False
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - aiormq cancels a lost question
        return False


metrics_router = APIRouter(include_in_schema=False)
"""For services that only the gateway and operators reach: the gateway itself must not have it."""


@metrics_router.get(METRICS_PATH)
async def show_metrics() -> Response:
    """Tell Prometheus what this process counts."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

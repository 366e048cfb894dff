"""One OpenAPI document out of the services' own."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import orjson
import structlog

from libs.common.background import in_background
from libs.common.errors import ThoughtflowError
from services.gateway.example_docs import add_examples
from services.gateway.operation_docs import describe_operations
from services.gateway.routes import Service, route_of
from services.gateway.upstream import BODY_IDLE_TIMEOUT_S, Upstream, UpstreamRequest

log = structlog.stdlib.get_logger()
REFRESH_S = 60.0
_RETRY_S = 1.0
_SCHEMAS = "#/components/schemas/"
_REQUEST = UpstreamRequest("GET", b"/openapi.json", b"accept: application/json\r\n")

Document = dict[str, Any]


def merge(own: Document, documents: Mapping[Service, Document]) -> Document:
    """Return `own` with the public paths of every service.

    A schema whose name another service uses for something else gets its service's name in front.
    """
    components = own.get("components", {})
    schemas: dict[str, Any] = dict(components.get("schemas", {}))
    paths: dict[str, Any] = dict(own.get("paths", {}))
    for service, document in documents.items():
        theirs: dict[str, Any] = document.get("components", {}).get("schemas", {})
        renamed = {
            name: f"{service.capitalize()}{name}"
            for name, schema in theirs.items()
            if name in schemas and schemas[name] != schema
        }
        for name, schema in theirs.items():
            schemas[renamed.get(name, name)] = _with_names(schema, renamed)
        for path, operations in document.get("paths", {}).items():
            if route_of("POST", path).service == service:
                paths[path] = _with_names(operations, renamed)
    security = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    merged = {**components, "schemas": schemas, "securitySchemes": security}
    return {**own, "paths": paths, "components": merged}


def complete(own: Document, documents: Mapping[Service, Document]) -> Document:
    """Return the merged document with all that an operation may be refused with, and examples."""
    merged = deepcopy(merge(own, documents))
    completion = documents.get("chat", {}).get("paths", {}).get("/completion", {}).get("post", {})
    describe_operations(merged["paths"], deepcopy(completion.get("responses", {})))
    add_examples(merged)
    return merged


def _with_names(node: Any, renamed: Mapping[str, str]) -> Any:
    if not renamed:
        return node
    if isinstance(node, list):
        return [_with_names(item, renamed) for item in node]
    if isinstance(node, str) and node.startswith(_SCHEMAS):
        name = node.removeprefix(_SCHEMAS)
        return _SCHEMAS + renamed.get(name, name)
    if isinstance(node, dict):
        return {key: _with_names(value, renamed) for key, value in node.items()}
    return node


class MergedDocument:
    """The services' documents as last seen; one that is away keeps its part."""

    def __init__(self) -> None:
        self._documents: dict[Service, Document] = {}
        self._merged: Document | None = None

    def merged_with(self, own: Document) -> Document:
        """Return the public document; `own` is looked at once for each that a service gave."""
        if self._merged is None:
            self._merged = complete(own, self._documents)
        return self._merged

    async def refresh(self, upstreams: Mapping[Service, Upstream]) -> bool:
        """Fetch every document; return whether all services have answered some time."""
        for service, upstream in upstreams.items():
            document = await _fetch(upstream)
            if document is not None:
                self._documents[service] = document
                self._merged = None
        return len(self._documents) == len(upstreams)

    @asynccontextmanager
    async def loading(self, upstreams: Mapping[Service, Upstream]) -> AsyncIterator[None]:
        """Fetch in the background until each service has answered once."""

        async def load() -> None:
            complete = False
            while not complete:
                complete = await self.refresh(upstreams)
                await asyncio.sleep(_RETRY_S)

        async with in_background(load()):
            yield


async def _fetch(upstream: Upstream) -> Document | None:
    try:
        response = await upstream.send(_REQUEST)
        body = await response.read_all(BODY_IDLE_TIMEOUT_S)
        document = orjson.loads(body) if response.status == 200 else None
    except (ThoughtflowError, orjson.JSONDecodeError) as exc:
        log.debug("openapi_not_fetched", error=type(exc).__name__)
        return None
    return document if isinstance(document, dict) else None

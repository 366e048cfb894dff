"""Every operation of the public OpenAPI document, and requests made up from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from typing_extensions import override

from libs.common.testing import eventually

Schema = dict[str, Any]
METHODS = ("get", "put", "post", "patch", "delete")
NEEDED = {"/user/me", "/chatroom", "/model", "/subscription/status", "/event"}
"""One path of each service: the document is whole once it has them."""

_FORMATS = {"uuid": "01900000-0000-7000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z"}
_PATTERNS = {
    "^[0-9]{6}$": "000000",
    "^cs_[A-Za-z0-9_]{1,250}$": "cs_test_1",
    "^evt_[A-Za-z0-9_]{1,250}$": "evt_1",
}


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        slots: where it takes an id of ours, as (`path`, `query` or `body`, name).
        query: what it requires there.
        body: a valid one with what is required alone; None where it takes none.
        fields: the schema of each top-level field of the body.
    """

    method: str
    path: str
    slots: tuple[tuple[str, str], ...]
    query: Mapping[str, Any]
    body: Any
    fields: Mapping[str, Schema]

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def request(self, ids: Mapping[tuple[str, str], str] | None = None) -> dict[str, Any]:
        """Return the arguments of a request with `ids` in these slots; paths need theirs."""
        url, query, body = self.path, dict(self.query), self.body
        given = {slot: _FORMATS["uuid"] for slot in self.slots if slot[0] == "path"} | dict(
            ids or {}
        )
        for (place, name), value in given.items():
            if place == "path":
                url = url.replace(f"{{{name}}}", value)
            elif place == "query":
                query[name] = value
            else:
                body = {**body, name: value}
        request = {"method": self.method, "url": url, "params": query}
        return request if body is None else request | {"json": body}


async def operations(http: httpx2.AsyncClient) -> list[Operation]:
    """Return all that the gateway documents, in its order."""

    async def whole() -> Schema:
        document: Schema = (await http.get("/openapi.json")).json()
        return document if document["paths"].keys() >= NEEDED else {}

    document = await eventually(whole, within_s=30)
    return [
        _operation(document, method, path, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if method in METHODS
    ]


def _operation(document: Schema, method: str, path: str, told: Schema) -> Operation:
    parameters = [each for each in told.get("parameters", []) if each["in"] != "header"]
    content = told.get("requestBody", {}).get("content", {}).get("application/json")
    schema = _plain(document, content["schema"]) if content else {}
    fields = {name: _plain(document, of) for name, of in schema.get("properties", {}).items()}
    slots = [
        (each["in"], each["name"])
        for each in parameters
        if _plain(document, each["schema"]).get("format") == "uuid"
    ]
    for each in parameters:
        if each["in"] == "path" and ("path", each["name"]) not in slots:
            path = path.replace(f"{{{each['name']}}}", example(document, each["schema"]))
    slots += [("body", name) for name, of in fields.items() if of.get("format") == "uuid"]
    query = {
        each["name"]: example(document, each["schema"])
        for each in parameters
        if each["in"] == "query" and each.get("required")
    }
    body = (example(document, schema) if fields else content["example"]) if content else None
    return Operation(method.upper(), path, tuple(slots), query, body, fields)


def example(document: Schema, schema: Schema) -> Any:
    """Return the smallest value that a schema of ours allows."""
    schema = _plain(document, schema)
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    match schema.get("type"):
        case "object":
            # Some want at least one of what they take.
            required = schema.get("required") or list(schema.get("properties", {}))[:1]
            return {name: example(document, schema["properties"][name]) for name in required}
        case "array":
            return [example(document, schema["items"])]
        case "string":
            known = {**_FORMATS, **_PATTERNS}
            return known.get(schema.get("format") or schema.get("pattern", ""), "text")
        case "boolean" | "integer" | "number" as kind:
            return False if kind == "boolean" else schema.get("minimum", 1)
    raise AssertionError(f"no example for {schema}")


def _plain(document: Schema, schema: Schema) -> Schema:
    """Return what a reference, or a choice of something and null, stands for."""
    if "$ref" in schema:
        return _plain(document, document["components"]["schemas"][schema["$ref"].split("/")[-1]])
    if "anyOf" in schema:
        return _plain(document, schema["anyOf"][0])
    return schema

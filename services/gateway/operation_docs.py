"""What the gateway adds to the documentation of every operation: how it may be refused."""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.common.deleted_users import AccountDeletedError
from libs.common.errors import (
    ApiKeyExpiredError,
    ApiKeyInvalidError,
    HeadersTooLargeError,
    MalformedError,
    NotFoundError,
    PayloadTooLargeError,
    SessionRevokedError,
    ThoughtflowError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedMediaError,
    ValidationFailedError,
)
from libs.common.identity import TokenExpiredError
from libs.common.problems import MEDIA_TYPE, add_problems
from services.gateway.completions import openai_error
from services.gateway.errors import (
    BrokenAnswerError,
    GatewayTimeoutError,
    RateLimitedError,
    ServiceUnavailableError,
)
from services.gateway.routes import (
    ANSWERED,
    OPENAI_PREFIX,
    Access,
    ensure_in_scope,
    route_of,
)

Document = dict[str, Any]
METHODS = ("get", "put", "post", "patch", "delete")
_OF_ANY = (
    *(MalformedError, PayloadTooLargeError, HeadersTooLargeError, ThoughtflowError),
    *(BrokenAnswerError, ServiceUnavailableError, UnavailableError, GatewayTimeoutError),
)
_WITHOUT_A_TOKEN = (
    *(UnauthenticatedError, TokenExpiredError, SessionRevokedError, AccountDeletedError),
    *(ApiKeyInvalidError, ApiKeyExpiredError),
)
_REFUSAL: Document = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
"""An error of OpenAI's."""

_ID = "01937f2e-6c00-7000-8000-000000000001"
_ANSWERED_EXAMPLE: Document = {
    "message": {"id": _ID, "chatroom_id": _ID, "role": "user", "content": "Hello!"},
    "reply": {"id": _ID, "status": "completed", "content": "Hi!", "finish_reason": "stop"},
    "stream_url": f"/chatroom/{_ID}/message/{_ID}/stream",
}


def describe_operations(paths: Document, completion: Mapping[str, Any]) -> None:
    """Add to the operations of `paths` what the gateway itself may answer.

    Args:
        paths: of the public document.
        completion: the `responses` of chat's `POST /completion`, which the OpenAI bridge asks.
    """
    for path, operations in paths.items():
        for method in operations.keys() & set(METHODS):
            operation = operations[method]
            responses = operation.setdefault("responses", {})
            responses.pop("default", None)
            if path.startswith(OPENAI_PREFIX) and method == "post":
                responses |= {key: each for key, each in completion.items() if key[0] in "45"}
            add_problems(responses, _problems(method.upper(), path, operation))
            if path.startswith(OPENAI_PREFIX):
                operation["responses"] = _as_openai_has_it(responses)
            elif method in {"post", "patch"} and ANSWERED.fullmatch(path):
                _describe_waiting(operation)


def _problems(
    method: str, path: str, operation: Mapping[str, Any]
) -> Iterator[type[ThoughtflowError]]:
    """Return what an operation may be refused with besides what its service says."""
    yield from _OF_ANY
    access = route_of(method, path).access
    if access is not Access.UNLIMITED:
        yield RateLimitedError
    if access is Access.TOKEN:
        yield from _WITHOUT_A_TOKEN
        try:
            ensure_in_scope(frozenset(), method, path)
        except ThoughtflowError as exc:
            yield type(exc)
    if "{" in path:
        yield NotFoundError
    if method != "GET":
        yield UnsupportedMediaError
    if operation.get("parameters") or "requestBody" in operation:
        yield ValidationFailedError


def _describe_waiting(operation: Document) -> None:
    """Add the two other ways to wait for a reply."""
    accepted = operation["responses"]["202"]
    operation["responses"] |= {
        "200": {
            "description": "With `Accept: text/event-stream`: `message.created` with the 202's "
            "body, then the events of the reply's stream",
            "content": {"text/event-stream": {}},
        },
        "201": {
            "description": "With `Prefer: wait=N`, if the reply ends within N seconds: `reply` "
            "has `status`, `content`, `finish_reason` and `problem`",
            "content": {
                "application/json": {
                    "schema": {"type": "object", "required": ["message", "reply", "stream_url"]},
                    "example": _ANSWERED_EXAMPLE,
                }
            },
        },
        "202": {**accepted, "description": "Accepted; follow the reply at `stream_url`"},
    }
    operation.setdefault("parameters", []).append(
        {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=N`: hold the answer back until the reply ends, 60 s at most",
            "schema": {"type": "string"},
        }
    )


def _as_openai_has_it(responses: Mapping[str, Any]) -> Document:
    """Return the responses with each problem as OpenAI's clients are told of it."""
    translated: Document = {}
    for status, response in responses.items():
        problems = response.get("content", {}).get(MEDIA_TYPE)
        if problems is None:
            translated.setdefault(status, response)
            continue
        for code, example in problems["examples"].items():
            answered, body = openai_error(example["value"])
            content = translated.setdefault(
                str(answered),
                {
                    "description": "An error as OpenAI has it; `code` is ours",
                    "content": {"application/json": {"schema": _REFUSAL, "examples": {}}},
                },
            )["content"]["application/json"]
            content["examples"][code] = {"summary": example["summary"], "value": body}
    return translated

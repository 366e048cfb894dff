"""What an operation may be refused with, as OpenAPI documents it."""

from collections.abc import Iterable
from typing import Any

from libs.common.edge import PROBLEM
from libs.common.errors import ThoughtflowError

MEDIA_TYPE = PROBLEM.decode()
SCHEMA = "#/components/schemas/Problem"
REQUEST_ID = "01937f2e-6c00-7000-8000-0000000000ff"


def problems(*errors: type[ThoughtflowError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint that raises these, for FastAPI.

    What any operation may be refused with, such as a missing token, is the gateway's to document.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    add_problems(responses, errors)
    return responses


def add_problems(responses: dict[Any, Any], errors: Iterable[type[ThoughtflowError]]) -> None:
    """Add to the `responses` of an operation what else it may be refused with, by status.

    The schema lists the codes of each status, and each has an example.
    """
    for error in errors:
        response = responses.setdefault(str(error.status), {"description": ""})
        content = response.setdefault("content", {}).setdefault(MEDIA_TYPE, {"examples": {}})
        examples = content["examples"]
        examples[error.code] = {"summary": error.title(), "value": _example(error)}
        codes = {"properties": {"code": {"enum": sorted(examples)}}}
        content["schema"] = {"allOf": [{"$ref": SCHEMA}, codes]}
        told = [f"`{code}`: {examples[code]['summary']}" for code in sorted(examples)]
        response["description"] = "; ".join(told)


def _example(error: type[ThoughtflowError]) -> dict[str, Any]:
    return {
        "type": f"/problems/{error.code}",
        "title": error.title(),
        "status": error.status,
        "detail": "what to do next, in a sentence",
        "code": error.code,
        "request_id": REQUEST_ID,
    }

"""Every operation says what it takes, what it answers, and how it may be refused."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from libs.common.errors import ThoughtflowError
from libs.common.problems import MEDIA_TYPE
from services.ai.errors import ModelError
from services.gateway.operation_docs import METHODS
from services.gateway.routes import OPENAI_PREFIX
from tests.contracts.errors import all_errors, coined
from tests.contracts.openapi import public_document

Document = dict[str, Any]
DOCUMENT = public_document()
OPERATIONS = {
    f"{method.upper()} {path}": told
    for path, methods in DOCUMENT["paths"].items()
    for method, told in methods.items()
    if method in METHODS
}
WITH_PROBLEMS = {name: told for name, told in OPERATIONS.items() if f" {OPENAI_PREFIX}" not in name}
ERRORS = {error.code: error for error in coined(all_errors())}
NOT_ANSWERED = {
    *("bad_gateway", "conflict", "forbidden", "limit_reached"),  # what others are kinds of
    "method_not_allowed",  # by a method that is not documented
    *("factor_missing", "last_admin"),  # by a command
    *("generation_busy", "user_busy"),  # to RabbitMQ
    "too_many_streams",  # over WebSockets
    *(error.code for error in ERRORS.values() if issubclass(error, ModelError)),  # in a reply
}
"""Codes that no documented operation answers with."""


def problems_of(told: Document) -> Iterator[tuple[str, Document]]:
    """Yield status and content of each refusal."""
    for status, response in told["responses"].items():
        if MEDIA_TYPE in response.get("content", {}):
            yield status, response["content"][MEDIA_TYPE]


def codes_of(content: Document) -> list[str]:
    found: list[str] = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
    return found


def errors_in(value: Any, schema: Document) -> list[str]:
    """Return why a value is none of a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [each.message for each in Draft202012Validator(whole).iter_errors(value)]


def test_it_is_an_openapi_document_of_version_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPI.model_validate(DOCUMENT)
    assert len(OPERATIONS) >= 60


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r"'\$ref': '#/([^']+)'", str(DOCUMENT))):
        node: Any = DOCUMENT
        for part in reference.split("/"):
            node = node[part]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_a_summary_a_description_and_a_tag(name: str) -> None:
    told = OPERATIONS[name]
    assert told["summary"]
    assert told["description"]
    assert len(told["tags"]) == 1


def test_no_two_operations_share_an_id_or_a_summary() -> None:
    for member in ("operationId", "summary"):
        values = [told[member] for told in OPERATIONS.values()]
        assert sorted(values) == sorted(set(values))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_documents_each_status_and_no_other(name: str) -> None:
    told = OPERATIONS[name]
    assert "default" not in told["responses"]
    assert any(status.startswith("2") for status in told["responses"])
    assert {"400", "413", "431", "500", "502", "503", "504"} <= told["responses"].keys()
    if "security" in told:
        assert {"401", "403", "429"} <= told["responses"].keys()
    if "{" in name:
        assert "404" in told["responses"]


@pytest.mark.parametrize("name", WITH_PROBLEMS)
def test_a_refusal_lists_its_codes_each_with_an_example(name: str) -> None:
    told = WITH_PROBLEMS[name]
    refused = {status for status in told["responses"] if status >= "4"}
    assert {status for status, _ in problems_of(told)} == refused
    for status, content in problems_of(told):
        codes = codes_of(content)
        assert content["examples"].keys() == set(codes)
        for code in codes:
            assert ERRORS[code].status == int(status)
            value = DOCUMENT["components"]["examples"][code]["value"]
            assert errors_in(value, content["schema"]) == []


def test_every_code_is_documented_by_an_operation_that_answers_it() -> None:
    documented = {
        code
        for told in WITH_PROBLEMS.values()
        for _, content in problems_of(told)
        for code in codes_of(content)
    }
    assert documented.isdisjoint(NOT_ANSWERED)
    assert sorted(documented | NOT_ANSWERED) == sorted(ERRORS)
    assert ThoughtflowError.code in documented


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_an_example_of_what_it_takes(name: str) -> None:
    told = OPERATIONS[name]
    for parameter in told.get("parameters", []):
        if parameter.get("required"):
            assert errors_in(parameter["example"], parameter["schema"]) == []
    for content in told.get("requestBody", {}).get("content", {}).values():
        assert errors_in(content["example"], content["schema"]) == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_an_example_of_what_it_answers(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        if not status.startswith("2"):
            continue
        assert status == "204" or response.get("content"), status
        for content in response.get("content", {}).values():
            # A stream has a schema for an event only from OpenAPI 3.2 on.
            assert errors_in(content["example"], content.get("schema", {})) == []
            assert content["example"] != {}


def test_openais_paths_are_refused_in_openais_words() -> None:
    for name in OPERATIONS.keys() - WITH_PROBLEMS.keys():
        for status, response in OPERATIONS[name]["responses"].items():
            if status >= "4":
                content = response["content"]["application/json"]
                for example in content["examples"].values():
                    assert errors_in(example["value"], content["schema"]) == []

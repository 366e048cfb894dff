from typing import Any

from services.gateway.openapi import merge

OWN: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "Thoughtflow"}, "paths": {}}


def document(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    ref = {"schema": {"$ref": "#/components/schemas/Page"}}
    return {
        "paths": {path: {"get": {"content": ref}}, "/health/live": {"get": {}}},
        "components": {"schemas": {"Page": schema}},
    }


def test_only_paths_that_are_forwarded_to_that_service_are_shown() -> None:
    merged = merge(OWN, {"auth": document("/user/me", {}), "chat": document("/user/you", {})})

    assert set(merged["paths"]) == {"/user/me"}


def test_equal_schemas_are_shared() -> None:
    merged = merge(
        OWN, {"auth": document("/user/me", {"a": 1}), "ai": document("/model", {"a": 1})}
    )

    assert set(merged["components"]["schemas"]) == {"Page"}


def test_a_name_with_two_meanings_gets_the_services_name_and_references_follow() -> None:
    merged = merge(
        OWN, {"auth": document("/user/me", {"a": 1}), "ai": document("/model", {"a": 2})}
    )

    assert merged["components"]["schemas"] == {"Page": {"a": 1}, "AiPage": {"a": 2}}
    reference = merged["paths"]["/model"]["get"]["content"]["schema"]["$ref"]
    assert reference == "#/components/schemas/AiPage"
    assert merged["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"

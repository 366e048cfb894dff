"""The AsyncAPI document is what the code says, and what devices are told is as it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]

from libs.common.events import ALL_EVENTS, Event
from libs.common.topology import CONSUMERS
from services.gateway import events
from tests.contracts.asyncapi import asyncapi_document, asyncapi_text, device_events
from tests.contracts.test_device_events import SAMPLES
from tests.contracts.tree import ASYNCAPI
from tests.npm_packages import install_into, needs_npm

DOCUMENT = asyncapi_document()


def errors_in(value: Any, message: str) -> list[str]:
    payload = DOCUMENT["components"]["messages"][message]["payload"]
    whole = {**payload, "components": DOCUMENT["components"]}
    return [each.message for each in Draft202012Validator(whole).iter_errors(value)]


def test_the_document_is_the_published_one() -> None:
    assert ASYNCAPI.read_text(encoding="utf-8") == asyncapi_text(), "run `make contracts`"


@needs_npm
def test_the_document_is_valid(tmp_path: Path) -> None:
    schemas = install_into(tmp_path) / "@asyncapi/specs/schemas"
    schema = json.loads((schemas / "3.0.0-without-$id.json").read_text(encoding="utf-8"))
    validator = Draft7Validator(schema)

    assert [each.message for each in validator.iter_errors(DOCUMENT)] == []
    assert list(validator.iter_errors({**DOCUMENT, "channel": {}})) != []


def test_every_event_is_sent_once_and_received_by_each_of_its_consumers() -> None:
    operations = DOCUMENT["operations"]
    for event in ALL_EVENTS:
        producer = event.TYPE.partition(".")[0]
        assert operations[f"{producer} sends {event.TYPE}"]["action"] == "send"
        receiving = {f"{consumer} receives {event.TYPE}" for consumer in CONSUMERS[event]}
        assert {
            name for name in operations if name.endswith(f" receives {event.TYPE}")
        } == receiving


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if type(node) is list else []

    found = set(references(DOCUMENT))
    assert len(found) > len(ALL_EVENTS)
    for reference in found:
        node: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_type_that_devices_are_told_is_a_message() -> None:
    named = {name.partition(".")[2] for name in DOCUMENT["components"]["messages"]}
    assert device_events().keys() <= named


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_what_is_told_is_as_documented(sample: Event) -> None:
    document = events.with_cursor("1-1", events.feed_document(sample))
    plain = {
        name: str(value) if name.endswith("_id") else value for name, value in document.items()
    }
    assert errors_in(plain, f"feed.{document['type']}") == []
    assert errors_in(sample.model_dump(mode="json"), sample.TYPE) == []
    assert errors_in({**plain, "data": None}, f"feed.{document['type']}") != []

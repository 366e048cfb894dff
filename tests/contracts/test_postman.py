"""The Postman collection is the OpenAPI document's, and asks for every operation once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.openapi import public_document
from tests.contracts.postman import METHODS, collection_text
from tests.contracts.tree import POSTMAN

Item = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Item:
    return public_document()


@pytest.fixture(scope="module")
def collection() -> Item:
    found: Item = json.loads(POSTMAN.read_text(encoding="utf-8"))
    return found


def requests_of(item: Item) -> Iterator[Item]:
    if "request" in item:
        yield item
    for each in item.get("item", []):
        yield from requests_of(each)


def test_the_collection_is_the_published_one(document: Item) -> None:
    assert POSTMAN.read_text(encoding="utf-8") == collection_text(document), "run `make contracts`"


def test_every_operation_is_asked_for_in_a_folder_by_tag(document: Item, collection: Item) -> None:
    _, *folders = collection["item"]
    asked = [each["name"] for folder in folders for each in requests_of(folder)]
    documented = [
        told["summary"]
        for methods in document["paths"].values()
        for method, told in methods.items()
        if method in METHODS
    ]
    assert sorted(asked) == sorted(documented)


def test_every_request_goes_to_the_chosen_server_and_expects_a_status(collection: Item) -> None:
    for item in requests_of(collection):
        assert item["request"]["url"]["raw"].startswith("{{baseUrl}}/"), item["name"]
        scripts = [event["script"]["exec"] for event in item["event"] if event["listen"] == "test"]
        assert any("pm.response.to.have.status" in line for lines in scripts for line in lines)

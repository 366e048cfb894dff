"""Published events change only on purpose: `make contracts` rewrites their schemas."""

import ast
import re

import pytest

from libs.common import topology
from libs.common.events import ALL_EVENTS, Event
from tests.contracts.schemas import schema_text, written_events
from tests.contracts.tree import EVENTS, ROOT, SERVICES


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: event.TYPE)
def test_the_schema_is_the_published_one(event: type[Event]) -> None:
    golden = EVENTS / f"{event.TYPE}.json"
    assert golden.exists(), f"{event.TYPE} was never published: run `make contracts`"
    assert schema_text(event) == golden.read_text(encoding="utf-8")


def test_nothing_is_published_that_is_no_event() -> None:
    published = {path.stem for path in EVENTS.glob("*.json")}
    assert published == {event.TYPE for event in ALL_EVENTS}


def test_all_events_lists_every_event_once() -> None:
    assert len(set(ALL_EVENTS)) == len(ALL_EVENTS)
    assert set(ALL_EVENTS) == written_events()


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: event.__name__)
def test_the_type_names_producer_fact_and_version(event: type[Event]) -> None:
    producer = event.__module__.rpartition(".")[2]
    assert producer in SERVICES
    assert re.fullmatch(rf"{producer}\.[a-z]+(_[a-z]+)*\.v[1-9]\d*", event.TYPE)


def test_two_events_never_share_a_type() -> None:
    types = [event.TYPE for event in ALL_EVENTS]
    assert len(types) == len(set(types))


def test_every_event_has_a_consumer_that_is_a_service() -> None:
    assert set(topology.CONSUMERS) == set(ALL_EVENTS)
    for event, consumers in topology.CONSUMERS.items():
        assert consumers, f"nobody wants {event.TYPE}"
        assert set(consumers) <= set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_subscribes_to_what_the_topology_sends_it(service: str) -> None:
    path = ROOT / f"services/{service}/consumers.py"
    subscribed = _subscriptions(path.read_text(encoding="utf-8"), service) if path.exists() else []
    sent = {event.__name__ for event, to in topology.CONSUMERS.items() if service in to}
    assert sorted(subscribed) == sorted(sent)


def _subscriptions(source: str, service: str) -> list[str]:
    """Return the event of each `events.on(Event, action)` in a module of that service's."""
    assert f'events = Subscriptions("{service}", ' in source
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="events"), attr="on"),
                args=[ast.Name(id=event), _],
            ):
                found.append(event)
    return found

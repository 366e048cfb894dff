"""The published form of the events: a JSON Schema each."""

import json
from importlib import import_module

from libs.common.events import Event
from tests.contracts.tree import ROOT


def written_events() -> set[type[Event]]:
    """Return every event that a module of `libs.common.events` defines, exported or not."""
    for path in (ROOT / "libs/common/events").glob("*.py"):
        import_module(f"libs.common.events.{path.stem}")
    return {event for event in _descendants(Event) if "TYPE" in vars(event)}


def _descendants(event: type[Event]) -> set[type[Event]]:
    children = set(event.__subclasses__())
    return children.union(*(_descendants(child) for child in children))


def schema_text(event: type[Event]) -> str:
    """Return the event's golden file."""
    return json.dumps(event.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

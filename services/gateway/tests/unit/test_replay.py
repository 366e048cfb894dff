from typing import Any

import orjson
import pytest

from services.gateway.replay import Replay, StreamEntry, parse_cursor


def entry(
    number: int, kind: str, *, attempt: int = 1, offset: int = 0, text: str = ""
) -> StreamEntry:
    end = {} if kind in {"started", "delta"} else {"problem": None, "finish_reason": "stop"}
    document = {"type": kind, "attempt": attempt, "offset": offset, "text": text, **end}
    return StreamEntry(f"5-{number}", document)


def told(events: bytes) -> list[dict[str, Any]]:
    lines = events.decode().splitlines()
    return [orjson.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]


def text_of(events: list[dict[str, Any]]) -> str:
    """What a client shows after these events."""
    text = ""
    for event in events:
        if event["type"] == "generation.snapshot":
            text = event["text"]
        if event["type"] == "message.delta":
            assert event["offset"] == len(text)
            text += event["text"]
    return text


ONE_ATTEMPT = [
    entry(1, "started"),
    entry(2, "delta", text="äb"),
    entry(3, "delta", offset=2, text="c"),
    entry(10, "completed"),
]


def test_entries_become_events_once_and_in_order() -> None:
    replay = Replay("r")

    events = told(b"".join(replay.tell(item) for item in ONE_ATTEMPT + ONE_ATTEMPT))

    types = [event["type"] for event in events]
    assert types == ["generation.started", *["message.delta"] * 2, "generation.completed"]
    assert text_of(events) == "äbc"
    assert replay.ended


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_listener_that_comes_back_gets_exactly_the_rest(cut: int) -> None:
    before, after = Replay("r"), Replay("r")
    first = b"".join(before.tell(item) for item in ONE_ATTEMPT[: cut + 1])

    after.resume_behind(ONE_ATTEMPT[cut])
    rest = b"".join(after.tell(item) for item in ONE_ATTEMPT)

    assert text_of(told(first + rest)) == "äbc"
    assert len(told(first + rest)) == len(ONE_ATTEMPT)


def test_a_new_attempt_starts_over_and_the_old_one_is_not_heard_any_more() -> None:
    replay = Replay("r")
    entries = [
        *ONE_ATTEMPT[:3],
        entry(4, "started", attempt=2),
        entry(5, "delta", offset=3, text="late"),
        entry(6, "delta", attempt=2, text="new"),
    ]

    events = told(b"".join(replay.tell(item) for item in entries))

    assert text_of(events) == "new"
    assert [event["type"] for event in events].count("generation.snapshot") == 1


def test_a_hole_in_the_deltas_is_noticed_and_a_snapshot_fills_it() -> None:
    replay = Replay("r")
    events = replay.tell(ONE_ATTEMPT[0]) + replay.tell(ONE_ATTEMPT[2])
    gap_noticed = replay.has_gap

    events += replay.start_over(ONE_ATTEMPT)

    assert (gap_noticed, replay.has_gap, replay.ended) == (True, False, True)
    assert text_of(told(events)) == "äbc"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5-1", "5-1"),
        ("x", None),
        ("", None),
        (None, None),
        ("5", None),
        ("-", None),
        ("5-1\n", None),
    ],
)
def test_only_stream_ids_are_cursors(given: str | None, expected: str | None) -> None:
    assert parse_cursor(given) == expected

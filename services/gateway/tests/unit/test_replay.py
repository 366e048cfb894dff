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
    entry(10, "completed", offset=3),
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


@pytest.mark.parametrize("left", [[1, 2, 3], [0, 2, 3], [0, 3], [3]])
def test_behind_a_hole_that_nothing_fills_only_the_stored_reply_is_told(left: list[int]) -> None:
    entries = [
        entry(1, "delta", text="äb"),
        entry(2, "delta", offset=2, text="c"),
        entry(3, "delta", offset=3, text="d"),
        entry(4, "completed", offset=4),
    ]
    replay = Replay("r")

    first = replay.start_over([entries[number] for number in left])
    told_before_the_end = told(first)
    last = replay.end_as_stored({"status": "completed", "content": "äbcd"})

    assert (replay.is_torn, replay.is_over) == (True, True)
    assert text_of(told_before_the_end) == ("äb" if 0 in left else "")
    assert [event["type"] for event in told_before_the_end] == ["generation.snapshot"]
    assert b"id: " not in first
    assert text_of(told(first + last)) == "äbcd"


def test_a_new_attempt_heals_a_hole() -> None:
    replay = Replay("r")
    torn = replay.start_over([entry(3, "delta", offset=2, text="c")])
    passed_by = replay.tell(entry(4, "delta", offset=3, text="d"))

    healed = replay.tell(entry(5, "started", attempt=2))
    healed += replay.tell(entry(6, "delta", attempt=2, text="new"))

    assert passed_by == b""
    assert not replay.is_torn
    assert text_of(told(torn + healed)) == "new"


def test_an_end_after_a_snapshot_is_written_as_its_listener_wants_it() -> None:
    def frame(event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
        return b"frame\n"

    frames = Replay("r", frame)

    assert frames.start_over(ONE_ATTEMPT) == b"frame\nframe\n"


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

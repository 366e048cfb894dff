"""From the entries of a reply's stream to the events of one listener: no I/O."""

import re
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from libs.common.replies import TERMINAL

_ID = re.compile(r"\d{1,20}-\d{1,20}")
_TYPES = {"started": "generation.started", "delta": "message.delta"} | {
    kind: f"generation.{kind}" for kind in TERMINAL
}


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry as Redis keeps it; `id` is "<milliseconds>-<number>"."""

    id: str
    document: dict[str, Any]


def parse_cursor(text: str | None) -> str | None:
    """Return a stream id, or None where there is none or it is malformed."""
    return text if text and _ID.fullmatch(text) else None


def cursor_of(text: str | None) -> str | None:
    """Return where a client wants to go on, None from the start.

    One that we cannot read is as good as one that is too old.
    """
    return (parse_cursor(text) or "0-0") if text else None


def id_order(entry_id: str) -> tuple[int, int]:
    """Return what ids sort by."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def sse(event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
    """Return one event of an event stream (HTML, section 9.2); JSON has no line breaks."""
    place = f"id: {entry_id}\n" if entry_id else ""
    return b"event: %b\n%bdata: %b\n\n" % (event.encode(), place.encode(), orjson.dumps(data))


class Encode(Protocol):
    """Writes an event as its listener wants it; `entry_id` is the place to come back to."""

    def __call__(
        self, event: str, data: dict[str, Any], *, entry_id: str | None = None
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """How a stream is written; `heartbeat` is the sign of life of a silent one, empty for none."""

    encode: Encode
    heartbeat: bytes


SSE = Wire(sse, b": hb\n\n")


class Replay:
    """What one listener has been told: events come in order, once, and of the latest attempt.

    Attributes:
        last_id: the last entry that it knows, None before the first.
        ended: whether it was told the end.
        has_gap: an entry does not continue what it was told; it needs a `snapshot`.
        is_torn: Redis has lost a part of this attempt, so only chat can tell all of it, in the end.
        is_over: it is torn, and the end is there.
    """

    def __init__(self, reply_id: str, encode: Encode = sse) -> None:
        self._encode = encode
        self.last_id: str | None = None
        self.ended = False
        self.has_gap = False
        self.is_torn = False
        self.is_over = False
        self._reply_id = reply_id
        self._last = (0, 0)
        self._attempt: int | None = None
        self._position = 0

    def resume_behind(self, entry: StreamEntry) -> None:
        """Go on behind an entry that the listener was told over another connection."""
        self._remember(entry)

    def tell(self, entry: StreamEntry) -> bytes:
        """Return the events for `entry`, empty if it brings nothing new."""
        if self.ended or self.has_gap or id_order(entry.id) <= self._last:
            return b""
        document = entry.document
        attempt = document["attempt"]
        if self._attempt is not None and attempt < self._attempt:
            return b""
        out = b""
        if self._attempt is not None and attempt > self._attempt:
            # Without an id: a listener that is cut off here must come back before this entry.
            out = self._snapshot(attempt, "", None)
            self._position = 0
            self._attempt = attempt
            self.is_torn = self.is_over = False
        if self.is_torn:
            self._pass_by(entry)
            return out
        if document["type"] != "started" and document["offset"] != self._position:
            self.has_gap = True
            return out
        self._remember(entry)
        return out + self._encode(
            _TYPES[document["type"]], self._event(document), entry_id=entry.id
        )

    def start_over(self, entries: list[StreamEntry]) -> bytes:
        """Return one snapshot of all there is up to the first hole, and the end if none is."""
        attempt = max(entry.document["attempt"] for entry in entries)
        valid = [entry for entry in entries if entry.document["attempt"] == attempt]
        text, is_whole = _text_of(valid)
        self.has_gap = False
        self.is_torn, self.is_over = not is_whole, False
        if not is_whole:
            self._attempt = attempt
            for entry in valid:
                self._pass_by(entry)
            # Without an id: who came back behind the hole would take the rest for all of it.
            return self._snapshot(attempt, text, None)
        before_end = [entry for entry in valid if entry.document["type"] not in TERMINAL]
        place = before_end[-1].id if before_end else None
        out = self._snapshot(attempt, text, place)
        for entry in valid:
            self._remember(entry)
            if self.ended:
                out += self._encode(
                    _TYPES[entry.document["type"]], self._event(entry.document), entry_id=entry.id
                )
        return out

    def end_as_stored(self, message: dict[str, Any]) -> bytes:
        """Return snapshot and end from chat's copy of a finished reply."""
        attempt = self._attempt or 1
        document = {
            "type": message["status"],
            "attempt": attempt,
            "finish_reason": message.get("finish_reason"),
            "problem": message.get("problem"),
        }
        self.ended = True
        snapshot = self._snapshot(attempt, message["content"], None)
        return snapshot + self._encode(_TYPES[message["status"]], self._event(document))

    def _remember(self, entry: StreamEntry) -> None:
        document = entry.document
        self.last_id = entry.id
        self._last = id_order(entry.id)
        self._attempt = document["attempt"]
        if document["type"] in TERMINAL:
            self.ended = True
        else:
            self._position = document["offset"] + len(document["text"])

    def _pass_by(self, entry: StreamEntry) -> None:
        """Take note of an entry behind a hole, which cannot be told."""
        self._last = id_order(entry.id)
        self.is_over = entry.document["type"] in TERMINAL

    def _event(self, document: dict[str, Any]) -> dict[str, Any]:
        event = {
            "type": _TYPES[document["type"]],
            "reply_id": self._reply_id,
            "attempt": document["attempt"],
        }
        if document["type"] == "delta":
            return event | {"offset": document["offset"], "text": document["text"]}
        if document["type"] in TERMINAL:
            return event | {
                "finish_reason": document["finish_reason"],
                "problem": document["problem"],
            }
        return event

    def _snapshot(self, attempt: int, text: str, place: str | None) -> bytes:
        data = {
            "type": "generation.snapshot",
            "reply_id": self._reply_id,
            "attempt": attempt,
            "offset": 0,
            "text": text,
        }
        return self._encode("generation.snapshot", data, entry_id=place)


def _text_of(entries: list[StreamEntry]) -> tuple[str, bool]:
    """Return the text of one attempt up to the first hole, and whether that is all of it."""
    text = ""
    for entry in entries:
        document = entry.document
        if document["type"] != "started" and document["offset"] != len(text):
            return text, False
        text += document["text"]
    return text, True

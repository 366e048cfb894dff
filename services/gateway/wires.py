"""Other ways to write a reply's events than server-sent events of our own: no I/O."""

from typing import Any, ClassVar

import orjson

from libs.common.replies import TERMINAL
from services.gateway.replay import SSE, Wire

_ENDS = {f"generation.{kind}": kind for kind in TERMINAL}
SNAPSHOT = "generation.snapshot"
DELTA = "message.delta"


def frames(subscription: str) -> Wire:
    """Return the wire of a subscription on a WebSocket: one frame a line, pings are its own."""

    def encode(event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
        del event  # `data` names it
        frame = {"op": "event", "subscription": subscription, "cursor": entry_id, "event": data}
        return orjson.dumps(frame) + b"\n"

    return Wire(encode, b"")


class Growing:
    """The text of a reply as its events build it up.

    Attributes:
        text: so far.
        end: the event that ended the reply, if it has ended.
    """

    def __init__(self) -> None:
        self.text = ""
        self.end: dict[str, Any] | None = None

    def grow(self, event: str, data: dict[str, Any]) -> str | None:
        """Take an event; return the text that came, None if it replaces what there was."""
        if event == DELTA:
            self.text += data["text"]
            return str(data["text"])
        if event == SNAPSHOT:
            old, self.text = self.text, data["text"]
            return self.text.removeprefix(old) if self.text.startswith(old) else None
        if event in _ENDS:
            self.end = data
        return ""

    @property
    def status(self) -> str | None:
        """Return how the reply ended: `completed`, `failed` or `stopped`."""
        return None if self.end is None else _ENDS[self.end["type"]]


class Collecting(Growing):
    """Keeps the reply; what a caller wants who waits for all of it."""

    @property
    def wire(self) -> Wire:
        """Return the wire, on which nothing goes over the network."""
        return Wire(self._encode, b"")

    def _encode(self, event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
        del entry_id
        self.grow(event, data)
        return b""


class UIMessages(Growing):
    """The UI message stream of the AI SDK, version 1.

    It can only add text. Where a reply starts over, its new text is a new part, and a transient
    `data-restart` part tells clients that the parts before it are void.
    """

    HEADERS: ClassVar = {"x-vercel-ai-ui-message-stream": "v1"}
    END = b"data: [DONE]\n\n"

    def __init__(self, reply_id: str) -> None:
        super().__init__()
        self._reply_id = reply_id
        self._part = 0
        self._in_part = False

    @property
    def wire(self) -> Wire:
        """Return the wire."""
        return Wire(self._encode, SSE.heartbeat)

    @property
    def begin(self) -> bytes:
        """Return what every such stream starts with."""
        return _data({"type": "start", "messageId": self._reply_id}) + _data({"type": "start-step"})

    def _encode(self, event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
        del entry_id
        news = self.grow(event, data)
        out = b""
        if news is None:
            restart = {"type": "data-restart", "data": {"attempt": data["attempt"]}}
            out = self._end_part() + _data(restart | {"transient": True})
            news = self.text
        if news:
            out += self._begin_part()
            out += _data({"type": "text-delta", "id": self._part_id, "delta": news})
        return out + self._end() if self.end else out

    @property
    def _part_id(self) -> str:
        return f"{self._reply_id}-{self._part}"

    def _begin_part(self) -> bytes:
        if self._in_part:
            return b""
        self._in_part = True
        self._part += 1
        return _data({"type": "text-start", "id": self._part_id})

    def _end_part(self) -> bytes:
        if not self._in_part:
            return b""
        self._in_part = False
        return _data({"type": "text-end", "id": self._part_id})

    def _end(self) -> bytes:
        if self.status == "stopped":
            return self._end_part() + _data({"type": "abort"})
        if self.status == "failed":
            return self._end_part() + _data({"type": "error", "errorText": error_text(self.end)})
        finished = _data({"type": "finish-step"}) + _data({"type": "finish"})
        return self._end_part() + finished


def error_text(end: dict[str, Any] | None) -> str:
    """Return why a reply failed, for people."""
    problem = (end or {}).get("problem") or {}
    return str(problem.get("detail") or "the reply failed; send the message again")


def _data(part: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(part)

"""The request log: what was asked, and how each answer ended."""

import itertools
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

_LONGEST_STRING = 20_000
"""Characters kept of any one string of a logged body: attachments are long and dull."""


@dataclass(slots=True)
class Entry:
    """One call: in progress until either `ended` or `aborted` is set, never both."""

    id: int
    path: str
    model: str
    method: str
    headers: list[str]
    """Names only, sorted: values may be secret."""
    key_in: Literal["header", "query"] | None
    at: float = field(default_factory=time.time)
    """Unix time of arrival, in seconds."""
    body: Any = None
    last_user_text: str = ""
    fault: str | None = None
    status: int | None = None
    chunks: int = 0
    """Body writes so far; an event of a stream is one."""
    started: bool = False
    """The first byte was sent."""
    ended: bool = False
    """The emulator finished, as planned by it: a cut or a refusal counts."""
    aborted: bool = False
    """The client closed the connection first."""
    duration_ms: float | None = None

    def close(self) -> None:
        """Mark the end, unless the client brought it about."""
        self.ended = not self.aborted
        self.duration_ms = round((time.time() - self.at) * 1000, 1)


class Journal:
    """The last calls, oldest first, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._ids = itertools.count(1)
        self._total = 0

    def open(
        self,
        *,
        path: str,
        model: str,
        method: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Entry:
        """Log the arrival of a call."""
        key_in: Literal["header", "query"] | None = None
        if headers.get("x-goog-api-key"):
            key_in = "header"
        elif query.get("key"):
            key_in = "query"
        entry = Entry(next(self._ids), path, model, method, sorted(set(headers)), key_in)
        self._entries.append(entry)
        self._total += 1
        return entry

    def clear(self) -> None:
        """Forget the calls; ids go on, so that an old id never means a new call."""
        self._entries.clear()
        self._total = 0

    def entries(self) -> list[Entry]:
        """List what is kept, oldest first."""
        return list(self._entries)

    def as_json(self) -> dict[str, Any]:
        """Shape the log; `total` counts also the calls that no longer fit."""
        calls = self.entries()
        running = sum(not (call.ended or call.aborted) for call in calls)
        return {"total": self._total, "open": running, "requests": [asdict(c) for c in calls]}


def trimmed(value: Any) -> Any:
    """Copy a JSON value with its very long strings cut short."""
    match value:
        case str() if len(value) > _LONGEST_STRING:
            return f"{value[:100]}... ({len(value)} characters)"
        case dict():
            return {key: trimmed(item) for key, item in value.items()}
        case list():
            return [trimmed(item) for item in value]
        case _:
            return value

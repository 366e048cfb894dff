"""What we read of Gemini's stream, https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.

Everything may be missing, and what is not listed is ignored.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from libs.common.events import Usage

MAX_EVENT = 8 * 1024 * 1024
"""Bytes of one event; a reply is a fraction of that."""
_OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")


class _Part(TypedDict, total=False):
    text: str | None
    thought: bool | None


class _Content(TypedDict, total=False):
    parts: list[_Part] | None


class _Candidate(TypedDict, total=False):
    content: _Content | None
    finishReason: str | None


class Counts(TypedDict, total=False):
    """Tokens of a reply so far."""

    promptTokenCount: int | None
    cachedContentTokenCount: int | None
    candidatesTokenCount: int | None
    thoughtsTokenCount: int | None
    toolUsePromptTokenCount: int | None
    totalTokenCount: int | None


class _Feedback(TypedDict, total=False):
    blockReason: str | None


class _Event(TypedDict, total=False):
    candidates: list[_Candidate] | None
    promptFeedback: _Feedback | None
    usageMetadata: Counts | None
    error: dict[str, Any] | None


# Dictionaries, because each chunk passes here: models would take twice the time.
_EVENT = TypeAdapter(_Event)


class Chunk(NamedTuple):
    """One event of the stream.

    Attributes:
        text: what the user sees of it.
        finish_reason: why the reply ended, in Gemini's words; empty if it has not.
        is_blocked: whether the prompt was refused.
        counts: tokens of the whole reply so far, in Gemini's words, if told.
        error: what broke the stream off.
    """

    text: str
    finish_reason: str
    is_blocked: bool
    counts: Counts | None
    error: dict[str, Any] | None

    @property
    def error_code(self) -> int:
        """HTTP status of the error; 500 if it does not tell."""
        code = (self.error or {}).get("code")
        return code if isinstance(code, int) else 500


def usage_of(counts: Counts) -> Usage:
    """Return Gemini's counts as ours."""
    return Usage(
        prompt=counts.get("promptTokenCount") or 0,
        cached=counts.get("cachedContentTokenCount") or 0,
        output=counts.get("candidatesTokenCount") or 0,
        thoughts=counts.get("thoughtsTokenCount") or 0,
        tools=counts.get("toolUsePromptTokenCount") or 0,
        total=counts.get("totalTokenCount") or 0,
    )


def plain(text: str) -> str:
    """Return `text` without what PostgreSQL (NUL) and UTF-8 (lone surrogates) cannot hold."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


class ChunkReader:
    """Turns the bytes of the stream, server-sent events however cut, into chunks.

    Attributes:
        is_closed: the end was fed, nothing more comes.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._rest = b""
        self._event: list[bytes] = []
        self._failure: ValueError | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks that `data` completes; empty `data` is the end of the stream.

        What comes after something that is no chunk is not read: see `ensure_sound`.
        """
        self.is_closed = not data
        chunks: list[Chunk] = []
        try:
            for event in self._events(data or b"\n\n"):
                chunks.append(_chunk(event))  # noqa: PERF401 - those before a bad one stay
        except ValueError as exc:
            self._failure = exc
        return chunks

    def ensure_sound(self) -> None:
        """Refuse a stream in which something was no chunk.

        Raises:
            ValueError: what it was.
        """
        if self._failure is not None:
            raise self._failure

    def _events(self, data: bytes) -> Iterator[bytes]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT:
            raise ValueError("an event without an end")
        for line in lines:
            text = line.strip()
            if text.startswith(b"data:"):
                self._event.append(text[5:])
            elif text and not text.startswith(_OTHER_FIELDS):
                self._event.append(text)  # errors come as bare JSON, sometimes, over several lines
            elif not text and self._event:
                event, self._event = b"\n".join(self._event), []
                yield event


def _chunk(data: bytes) -> Chunk:
    try:
        event = _EVENT.validate_json(data)
    except ValidationError:
        # To pydantic a lone surrogate is no JSON.
        event = _EVENT.validate_python(json.loads(data))
    candidate = next(iter(event.get("candidates") or ()), _Candidate())
    parts = (candidate.get("content") or {}).get("parts") or ()
    return Chunk(
        text="".join(part.get("text") or "" for part in parts if not part.get("thought")),
        finish_reason=candidate.get("finishReason") or "",
        is_blocked=(event.get("promptFeedback") or {}).get("blockReason") is not None,
        counts=event.get("usageMetadata"),
        error=event.get("error"),
    )

"""What we read of Gemini's stream, https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.

Everything may be missing, and what is not listed is ignored.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from libs.common.events import Usage

MAX_EVENT = 8 * 1024 * 1024
"""Bytes of one event; a reply is a fraction of that."""
_OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Part(_Wire):
    text: str | None = None
    thought: bool | None = None


class _Content(_Wire):
    parts: list[_Part] | None = None


class _Candidate(_Wire):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(_Wire):
    block_reason: str | None = None


class _Counts(_Wire):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None

    def usage(self) -> Usage:
        """Return them as ours."""
        return Usage(
            prompt=self.prompt_token_count or 0,
            cached=self.cached_content_token_count or 0,
            output=self.candidates_token_count or 0,
            thoughts=self.thoughts_token_count or 0,
            tools=self.tool_use_prompt_token_count or 0,
            total=self.total_token_count or 0,
        )


class Chunk(_Wire):
    """One event of the stream."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Counts | None = None
    error: dict[str, Any] | None = None

    @property
    def error_code(self) -> int:
        """HTTP status of the error that broke the stream off; 500 if it does not tell."""
        code = (self.error or {}).get("code")
        return code if isinstance(code, int) else 500

    @property
    def finish_reason(self) -> str:
        """Why the reply ended, in Gemini's words; empty if it has not."""
        return (self.candidates[0].finish_reason or "") if self.candidates else ""

    @property
    def is_blocked(self) -> bool:
        """Whether the prompt was refused."""
        return self.prompt_feedback is not None and self.prompt_feedback.block_reason is not None

    @property
    def text(self) -> str:
        """What the user sees of it."""
        content = self.candidates[0].content if self.candidates else None
        parts = (content.parts if content is not None else None) or []
        return "".join(part.text or "" for part in parts if not part.thought)


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


def _chunk(event: bytes) -> Chunk:
    try:
        return Chunk.model_validate_json(event)
    except ValidationError:
        # To pydantic a lone surrogate is no JSON.
        return Chunk.model_validate(json.loads(event))

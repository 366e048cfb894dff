"""What we read of Gemini's stream, https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.

Everything may be missing, and what is not listed is ignored.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from libs.common.events import Usage


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


class Chunk(_Wire):
    """One event of the stream."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Counts | None = None

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
        text = "".join(part.text or "" for part in parts if not part.thought)
        # PostgreSQL cannot hold NUL, nor UTF-8 a lone surrogate.
        return text.replace("\x00", "").encode("utf-8", "replace").decode()

    @property
    def usage(self) -> Usage | None:
        """Tokens of the whole reply so far, if told."""
        told = self.usage_metadata
        if told is None:
            return None
        return Usage(
            prompt=told.prompt_token_count or 0,
            cached=told.cached_content_token_count or 0,
            output=told.candidates_token_count or 0,
            thoughts=told.thoughts_token_count or 0,
            tools=told.tool_use_prompt_token_count or 0,
            total=told.total_token_count or 0,
        )

"""The language model: one small port, its Gemini implementation, its failures.

Every way in which Gemini ends a stream is mapped here to text or to a typed error.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import httpx2
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from libs.common.events import Usage
from services.ai.errors import (
    ContentBlockedError,
    ModelError,
    ModelOverloadedError,
    ModelRejectedError,
    ModelUnavailableError,
    ReplyEmptyError,
    ReplyInterruptedError,
)
from services.ai.models import Piece, Prompt
from services.ai.settings import Settings

_DONE = {"STOP": "stop", "MAX_TOKENS": "max_tokens"}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
TRY_LATER = "the model does not answer right now; send the message again in a minute"


class Model(Protocol):
    """Anything that can answer a prompt piece by piece."""

    name: str

    def answer(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Yield the answer; the last piece carries its finish reason, and there is some text.

        Raises:
            ModelError: there is no complete answer; `transient` tells whether to ask again.
        """
        ...


class Gemini:
    """`Model` by Google's API, https://ai.google.dev/api/generate-content."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.gemini_model
        self._settings = settings
        self._http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None))
        self._client = genai.Client(
            api_key=settings.gemini_api_key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=settings.gemini_base_url,
                api_version="v1beta",  # the `-latest` aliases exist only there
                timeout=int(settings.total_timeout_s * 1000),
                httpx_async_client=self._http,
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )
        self._config = types.GenerateContentConfig(
            system_instruction=settings.system_instruction,
            max_output_tokens=settings.max_output_tokens,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    async def aclose(self) -> None:
        """Close the connections; answers under way fail."""
        await self._client.aio.aclose()
        await self._http.aclose()

    async def answer(self, prompt: Prompt) -> AsyncIterator[Piece]:
        finish_reason, wrote = "", False
        async for chunk in self._chunks(_contents(prompt)):
            _refuse_blocked(chunk)
            candidate = chunk.candidates[0] if chunk.candidates else None
            if candidate is not None and candidate.finish_reason is not None:
                finish_reason = candidate.finish_reason.name
            text = _visible_text(candidate)
            wrote = wrote or bool(text.strip())
            yield Piece(text, _usage(chunk))
        if not finish_reason:
            raise ReplyInterruptedError("the model stopped in mid-sentence; send the message again")
        if finish_reason not in _DONE:
            raise ContentBlockedError(
                "the model's safety rules stopped this reply; put the question differently"
            )
        if not wrote:
            raise ReplyEmptyError("the model had nothing to say; put the question differently")
        yield Piece("", finish_reason=_DONE[finish_reason])

    async def _chunks(
        self, contents: list[types.Content]
    ) -> AsyncIterator[types.GenerateContentResponse]:
        """Yield Gemini's chunks, with our timeouts and errors in place of the SDK's."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.total_timeout_s
        silence_s = self._settings.first_token_timeout_s
        try:
            async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                stream = await self._client.aio.models.generate_content_stream(
                    model=self.name, contents=contents, config=self._config
                )
            while True:
                async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                silence_s = self._settings.silence_timeout_s
                yield chunk
        except genai_errors.APIError as exc:
            raise _translated(exc) from exc
        except (
            genai_errors.UnknownApiResponseError,
            json.JSONDecodeError,
            httpx2.TransportError,
            TimeoutError,
        ) as exc:
            raise ModelUnavailableError(TRY_LATER) from exc


def _contents(prompt: Prompt) -> list[types.Content]:
    turns = [
        types.Content(
            role="user" if turn.role == "user" else "model",
            parts=[types.Part.from_text(text=turn.content)],
        )
        for turn in prompt.history
    ]
    return [*turns, types.UserContent(parts=[types.Part.from_text(text=prompt.content)])]


def _refuse_blocked(chunk: types.GenerateContentResponse) -> None:
    feedback = chunk.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        raise ContentBlockedError(
            "the model's safety rules refuse this message; put it differently"
        )


def _visible_text(candidate: types.Candidate | None) -> str:
    if candidate is None or candidate.content is None:
        return ""
    parts = candidate.content.parts or []
    return "".join(part.text or "" for part in parts if not part.thought)


def _usage(chunk: types.GenerateContentResponse) -> Usage | None:
    told = chunk.usage_metadata
    if told is None:
        return None
    return Usage(
        prompt=told.prompt_token_count or 0,
        cached=told.cached_content_token_count or 0,
        output=told.candidates_token_count or 0,
        thoughts=told.thoughts_token_count or 0,
        total=told.total_token_count or 0,
    )


def _translated(exc: genai_errors.APIError) -> ModelError:
    if exc.code == 429:
        return ModelOverloadedError(TRY_LATER, retry_after_s=_retry_after_s(exc))
    if exc.code in {408, 499} or exc.code >= 500:
        return ModelUnavailableError(TRY_LATER, retry_after_s=_retry_after_s(exc))
    return ModelRejectedError("the model refused our request; the operator has to look")


def _retry_after_s(exc: genai_errors.APIError) -> float | None:
    """Return what the provider asks for, in the header or in google.rpc.RetryInfo."""
    header = exc.response.headers.get("retry-after", "") if exc.response is not None else ""
    if header.isdigit():
        return float(header)
    details: Any = exc.details.get("error", {}).get("details", []) if exc.details else []
    for detail in details:
        delay = str(detail.get("retryDelay", ""))
        if detail.get("@type") == _RETRY_INFO and delay.removesuffix("s").isdigit():
            return float(delay.removesuffix("s"))
    return None

"""The language model: one small port, its Gemini implementation, its failures.

Every way in which Gemini ends a stream is mapped here to text or to a typed error.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Protocol

import httpx2
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from pydantic import ValidationError

from services.ai.chunks import Chunk
from services.ai.errors import (
    ContentBlockedError,
    ModelError,
    ModelOverloadedError,
    ModelRejectedError,
    ModelSilentError,
    ModelUnavailableError,
    ReplyEmptyError,
    ReplyInterruptedError,
)
from services.ai.models import Piece, Prompt
from services.ai.settings import Settings

# CONTINUATION is a limit, too: what was written so far stands.
_DONE = {"STOP": "stop", "MAX_TOKENS": "max_tokens", "CONTINUATION": "max_tokens"}
_BLOCKED = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION"),
}
_SLIPS = {
    *("FINISH_REASON_UNSPECIFIED", "OTHER", "MALFORMED_RESPONSE", "MALFORMED_FUNCTION_CALL"),
    *("UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"),
    *("IMAGE_OTHER", "NO_IMAGE"),
}
_REFUSED = {"PUP_LIMITED_DISABLED"}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
TRY_LATER = "the model does not answer right now; send the message again in a minute"

_opened: ContextVar[list[httpx2.Response] | None] = ContextVar("opened", default=None)
"""The responses of the present call, which the SDK does not let us close."""


class Model(Protocol):
    """Anything that can answer a prompt piece by piece."""

    def answer(self, prompt: Prompt, *, model: str) -> AsyncGenerator[Piece, None]:
        """Yield the answer of `model`; the last piece has its finish reason, and there is text.

        Closing the generator, or cancelling who waits for it, ends the call at the provider.

        Raises:
            ModelError: there is no complete answer; `transient` tells whether to ask again.
        """
        ...


class Gemini:
    """`Model` by Google's API, https://ai.google.dev/api/generate-content."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx2.AsyncClient(
            limits=httpx2.Limits(max_connections=None),
            event_hooks={"request": [self._limit_connecting], "response": [_remember]},
        )
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

    async def aclose(self) -> None:
        """Close the connections; answers under way fail."""
        await self._client.aio.aclose()
        await self._http.aclose()

    async def answer(self, prompt: Prompt, *, model: str) -> AsyncGenerator[Piece, None]:
        finish_reason, wrote = "", False
        async with aclosing(self._chunks(prompt, model)) as chunks:
            async for chunk in chunks:
                finish_reason = chunk.finish_reason or finish_reason
                text = chunk.text
                wrote = wrote or bool(text.strip())
                is_blocked = chunk.is_blocked
                yield Piece(text, chunk.usage, is_last=bool(finish_reason) or is_blocked)
                if is_blocked:
                    raise ContentBlockedError(
                        "the model's safety rules refuse this message; put it differently"
                    )
        yield Piece("", finish_reason=ensure_good(finish_reason, wrote=wrote))

    async def _chunks(self, prompt: Prompt, model: str) -> AsyncGenerator[Chunk, None]:
        """Yield Gemini's chunks, with our timeouts and errors in place of the SDK's."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.total_timeout_s
        silence_s = self._settings.first_token_timeout_s
        opened: list[httpx2.Response] = []
        _opened.set(opened)
        try:
            async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                # Not `models.generate_content_stream`: see decision 16.
                stream = await self._client._api_client.async_request_streamed(  # noqa: SLF001
                    "post", f"models/{model}:streamGenerateContent?alt=sse", _body(prompt)
                )
            while True:
                async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                    event = await anext(stream, None)
                if event is None:
                    return
                silence_s = self._settings.silence_timeout_s
                # Not `model_validate_json`: to pydantic a lone surrogate is no JSON.
                yield Chunk.model_validate(json.loads(event.body))
        except genai_errors.APIError as exc:
            raise _translated(exc) from exc
        except (TimeoutError, httpx2.ReadTimeout) as exc:
            raise ModelSilentError(TRY_LATER) from exc
        except (
            genai_errors.UnknownApiResponseError,
            json.JSONDecodeError,
            httpx2.TransportError,
            ValidationError,
        ) as exc:
            raise ModelUnavailableError(TRY_LATER) from exc
        finally:
            for response in opened:
                await response.aclose()

    async def _limit_connecting(self, request: httpx2.Request) -> None:
        # The SDK gives one time for everything; a server that is not there needs less to be known.
        request.extensions["timeout"]["connect"] = self._settings.connect_timeout_s


async def _remember(response: httpx2.Response) -> None:
    if (opened := _opened.get()) is not None:
        opened.append(response)


def ensure_good(finish_reason: str, *, wrote: bool) -> str:
    """Return `stop` or `max_tokens` for a reply that stands.

    Args:
        finish_reason: Gemini's, empty if it gave none.
        wrote: whether there was any visible text.

    Raises:
        ModelError: the reply does not stand; also for reasons that did not exist when this was
            written.
    """
    if not finish_reason or finish_reason in _SLIPS:
        raise ReplyInterruptedError("the model stopped in mid-sentence; send the message again")
    if finish_reason in _BLOCKED:
        raise ContentBlockedError(
            "the model's safety rules stopped this reply; put the question differently"
        )
    if finish_reason in _REFUSED:
        raise ModelRejectedError("the provider limited our account; the operator has to look")
    if finish_reason not in _DONE:
        raise ModelError("the model ended its reply in an unknown way; send the message again")
    if not wrote:
        raise ReplyEmptyError("the model had nothing to say; put the question differently")
    return _DONE[finish_reason]


def _body(prompt: Prompt) -> dict[str, object]:
    """Return the request, https://ai.google.dev/api/generate-content#request-body."""
    contents = [
        {"role": "user" if turn.role == "user" else "model", "parts": [{"text": turn.content}]}
        for turn in prompt.turns
    ]
    return {
        "contents": contents,
        "systemInstruction": {"parts": [{"text": prompt.instruction}]},
        "generationConfig": {"maxOutputTokens": prompt.max_output_tokens},
    }


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

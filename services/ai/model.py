"""The language model: one small port, its Gemini implementation, its failures.

Every way in which Gemini ends a stream is mapped here to text or to a typed error.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from services.ai.beats import Beats
from services.ai.chunks import Chunk, ChunkReader, plain, usage_of
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
ValueT = TypeVar("ValueT")
TRY_LATER = "the model does not answer right now; send the message again in a minute"

READ_EVERY_S = 0.3
"""Seconds at most for which a reply that flows collects in the socket before it is read on: a read
costs the same for one word as for twenty."""


GOOGLE = "https://generativelanguage.googleapis.com"


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
        self._beats = Beats()
        # It makes three clients that are never used, each with the world's certificates (1 MB).
        # This context trusts nobody.
        unused = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
        self._client = genai.Client(
            api_key=settings.gemini_api_key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=settings.gemini_base_url,
                api_version="v1beta",  # the `-latest` aliases exist only there
                timeout=int(settings.total_timeout_s * 1000),
                client_args=unused,
                async_client_args=unused | {"ssl": unused["verify"]},
            ),
        )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout_s),
            proxy=proxy_for(settings.gemini_base_url or GOOGLE),
        )

    async def aclose(self) -> None:
        """Close the connections; answers under way fail."""
        await self._http.close()

    async def answer(self, prompt: Prompt, *, model: str) -> AsyncGenerator[Piece, None]:
        finish_reason, wrote = "", False
        async with aclosing(self._reads(prompt, model)) as reads:
            async for chunks in reads:
                finish_reason = _last(chunk.finish_reason for chunk in chunks) or finish_reason
                text = plain("".join(chunk.text for chunk in chunks))
                wrote = wrote or bool(text.strip())
                counts = _last(chunk.counts for chunk in chunks)
                is_blocked = any(chunk.is_blocked for chunk in chunks)
                yield Piece(
                    text,
                    usage_of(counts) if counts else None,
                    is_last=bool(finish_reason) or is_blocked,
                )
                if is_blocked:
                    raise ContentBlockedError(
                        "the model's safety rules refuse this message; put it differently"
                    )
        yield Piece("", finish_reason=ensure_good(finish_reason, wrote=wrote))

    async def _reads(self, prompt: Prompt, model: str) -> AsyncGenerator[list[Chunk], None]:
        """Yield what each read brought, with our timeouts and errors in place of theirs."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.total_timeout_s
        silence_s = self._settings.first_token_timeout_s
        reader = ChunkReader()
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                response = await self._ask(prompt, model)
                await genai_errors.APIError.raise_for_async_response(response)
            began = None
            while not reader.is_closed:
                async with asyncio.timeout_at(min(clock() + silence_s, deadline)):
                    data = await response.content.readany()
                if chunks := reader.feed(data):
                    yield chunks
                    silence_s = self._settings.silence_timeout_s
                    began = began or clock()
                reader.ensure_sound()
                for chunk in chunks:
                    _ensure_no_error(chunk)
                if began is not None:  # one that just began is not held up
                    await self._collect(response, min((clock() - began) / 4, READ_EVERY_S))
        except genai_errors.APIError as exc:
            raise _translated(exc) from exc
        except TimeoutError as exc:
            raise ModelSilentError(TRY_LATER) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise ModelUnavailableError(TRY_LATER) from exc
        finally:
            if response is not None:
                response.close()

    async def _ask(self, prompt: Prompt, model: str) -> aiohttp.ClientResponse:
        # Not `models.generate_content_stream`: see decision 16.
        request = self._client._api_client._build_request(  # noqa: SLF001
            "post", f"models/{model}:streamGenerateContent?alt=sse", _body(prompt)
        )
        return await self._http.post(
            request.url,
            headers=request.headers,
            data=orjson.dumps(request.data),
            allow_redirects=False,  # the key is for nobody else
        )

    async def _collect(self, response: aiohttp.ClientResponse, seconds: float) -> None:
        """Leave what arrives in the kernel for a while."""
        transport = response.connection.transport if response.connection is not None else None
        if transport is None or transport.is_closing():
            return
        transport.pause_reading()
        try:
            await self._beats.wait(seconds)
        finally:
            if not transport.is_closing():
                transport.resume_reading()


def proxy_for(url: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for `url`, if any.

    aiohttp's `trust_env` finds it out again for each call, and reads ~/.netrc in a thread besides:
    a tenth of what a short reply costs us.
    """
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _ensure_no_error(chunk: Chunk) -> None:
    if chunk.error is not None:
        raise genai_errors.APIError(chunk.error_code, {"error": chunk.error})


def _last(values: Iterable[ValueT | None]) -> ValueT | None:
    return next((value for value in reversed(list(values)) if value), None)


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

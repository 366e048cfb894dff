"""What Gemini does, and how long it may take, as the port `Model` tells it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.local.gemini.answers import Pace
from deploy.local.gemini.app import Emulator
from deploy.local.gemini.app import create_app as create_gemini
from libs.common.events import Turn
from services.ai.errors import ModelOverloadedError, ModelUnavailableError
from services.ai.model import Gemini
from services.ai.models import Piece, Prompt
from services.ai.settings import Settings

pytestmark = pytest.mark.integration
PATIENT = {"first_token_timeout_s": 30, "silence_timeout_s": 30, "total_timeout_s": 30}


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await task
    listener.close()


@pytest.fixture(scope="module")
async def slow_gemini_url() -> AsyncIterator[str]:
    """An emulator that writes a word every 0.1 s."""
    emulator = Emulator(Pace(first_token_s=0, chunk_s=0.1), log_size=10)
    async with serving(create_gemini(emulator)) as url:
        yield url


async def think_aloud(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer as Gemini does when it tells its thoughts."""
    chunk = {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"text": "Let me see.", "thought": True}, {"text": "Tea."}],
                },
                "finishReason": "STOP",
            }
        ]
    }
    body = b"data: " + orjson.dumps(chunk) + b"\r\n\r\n"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


PROMPT = Prompt((Turn(role="user", content="hello"),), "", 100)


async def answer(settings: Settings, **changed: Any) -> list[Piece]:
    model = Gemini(settings.model_copy(update=PATIENT | changed))
    try:
        return [piece async for piece in model.answer(PROMPT, model=settings.gemini_model)]
    finally:
        await model.aclose()


@pytest.mark.parametrize(
    ("fault", "limit"),
    [
        ({"mode": "slow", "delay_s": 20}, "first_token_timeout_s"),
        ({"mode": "stall"}, "silence_timeout_s"),
        ({"mode": "stall"}, "total_timeout_s"),
    ],
)
async def test_a_silent_model_is_given_up_after_each_of_the_limits(
    settings: Settings, gemini: httpx2.AsyncClient, fault: dict[str, Any], limit: str
) -> None:
    await gemini.post("/_emulator/faults", json=fault)

    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailableError):
            await answer(settings, **{limit: 0.5})


async def test_a_model_that_never_stops_talking_is_given_up_too(
    settings: Settings, slow_gemini_url: str
) -> None:
    async with httpx2.AsyncClient(base_url=slow_gemini_url) as control:
        await control.post("/_emulator/faults", json={"mode": "long", "chunks": 200})

    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailableError):
            await answer(settings, gemini_base_url=slow_gemini_url, total_timeout_s=0.5)


async def test_a_slow_first_word_is_waited_for_longer_than_a_silence(
    settings: Settings, gemini: httpx2.AsyncClient
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.6})

    pieces = await answer(settings, silence_timeout_s=0.3)

    assert pieces[-1].finish_reason == "stop"


async def test_a_reply_that_is_cut_at_its_length_says_so(
    settings: Settings, gemini: httpx2.AsyncClient
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "long", "chunks": 500})

    pieces = await answer(settings, max_output_tokens=50)

    assert "".join(piece.text for piece in pieces)
    assert pieces[-1].finish_reason == "max_tokens"


async def test_thoughts_are_no_part_of_the_reply(settings: Settings) -> None:
    async with serving(think_aloud) as url:
        pieces = await answer(settings, gemini_base_url=url)

    assert "".join(piece.text for piece in pieces) == "Tea."


@pytest.mark.parametrize("retry_after_s", [1, 7])
async def test_the_model_says_when_to_come_back(
    settings: Settings, gemini: httpx2.AsyncClient, retry_after_s: int
) -> None:
    fault = {"mode": "e429", "retry_after_s": retry_after_s}
    await gemini.post("/_emulator/faults", json=fault)

    with pytest.raises(ModelOverloadedError) as raised:
        await answer(settings)

    assert raised.value.retry_after_s == retry_after_s


async def test_a_reply_that_flows_is_read_in_few_steps_and_its_first_words_at_once(
    settings: Settings,
) -> None:
    chunks = 150  # one every 0.01 s
    prompt = replace(PROMPT, max_output_tokens=10_000)
    async with serving(create_gemini(Emulator(Pace(0, 0.01), log_size=10))) as url:
        async with httpx2.AsyncClient(base_url=url) as control:
            await control.post("/_emulator/faults", json={"mode": "long", "chunks": chunks})
        model = Gemini(settings.model_copy(update=PATIENT | {"gemini_base_url": url}))
        pieces = [piece.text async for piece in model.answer(prompt, model=settings.gemini_model)]
        await model.aclose()

    words = "".join(pieces).split()
    assert len(words) == chunks
    assert len(pieces) < chunks / 4
    assert len(pieces[0].split()) < 10

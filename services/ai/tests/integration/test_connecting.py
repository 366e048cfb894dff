"""U2: a provider that takes no connection is known soon, whatever the other timeouts."""

import asyncio
import socket
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from libs.common.events import Turn
from services.ai.errors import ModelUnavailableError
from services.ai.model import Gemini
from services.ai.models import Prompt
from services.ai.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """A port whose queue of connections is full, so that nobody gets an answer."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    await asyncio.sleep(0.1)
    yield listener.getsockname()[1]
    for each in (*fillers, listener):
        each.close()


async def test_a_provider_that_takes_no_connection_is_given_up_after_the_connect_timeout(
    settings: Settings, deaf_port: int
) -> None:
    values = {
        "gemini_base_url": f"http://127.0.0.1:{deaf_port}",
        "connect_timeout_s": 0.3,
        "first_token_timeout_s": 30.0,
    }
    gemini = Gemini(settings.model_copy(update=values))
    prompt = Prompt((Turn(role="user", content="hi"),), "be kind", 100)
    began = monotonic()

    with pytest.raises(ModelUnavailableError):
        await anext(gemini.answer(prompt, model="gemini-3.8-flash"))

    assert 0.2 < monotonic() - began < 5
    await gemini.aclose()

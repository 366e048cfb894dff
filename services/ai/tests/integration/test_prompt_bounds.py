"""What goes to the provider, byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from libs.common.events import AIReplyReady, Event, MessagePosted
from services.ai import rules
from services.ai.actions import replies
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import end_of, posted

pytestmark = pytest.mark.integration
MOST_BYTES = 200_000
ANSWER = {"candidates": [{"content": {"parts": [{"text": "Tea."}]}, "finishReason": "STOP"}]}


@dataclass
class Provider:
    """Keeps what it is asked as it came over the wire, and always answers the same."""

    asked: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.append(scope["raw_path"] + b"?" + scope["query_string"] + b"\n" + body)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        answer = b"data: " + orjson.dumps(ANSWER) + b"\r\n\r\n"
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
async def gemini_url(provider: Provider) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(provider, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await task
    listener.close()


@pytest.fixture
def settings(settings: Settings, gemini_url: str) -> Settings:
    return settings.model_copy(update={"gemini_base_url": gemini_url})


def long_room(letter: str) -> MessagePosted:
    """Return a message of the greatest length in a room of 80 long turns and a summary."""
    roles = ("user", "assistant")
    history = [{"role": roles[i % 2], "content": letter * 3900} for i in range(80)]
    return posted(letter * 32_000, summary=letter * 8000, history=history)


@pytest.mark.parametrize("letter", ["x", "ü", "茶", "🍵"], ids=ascii)
async def test_a_prompt_is_small_however_long_the_room_and_in_whatever_script(
    res: Resources, provider: Provider, announced: list[Event], letter: str
) -> None:
    """L3: 200 kB on the wire at most, and the message itself is whole."""
    event = long_room(letter)

    await replies.answer_message(res, event)

    end_of(announced, event, AIReplyReady)
    [asked] = provider.asked
    turns = orjson.loads(asked.partition(b"\n")[2])["contents"]
    lengths = [len(turn["parts"][0]["text"]) for turn in turns]
    assert lengths == [8000 + len(rules.SUMMARY_HEAD), 3900, 3900, 32_000]  # as much as may be
    assert turns[-1]["parts"][0]["text"] == event.content
    assert len(asked) <= MOST_BYTES


async def test_the_provider_learns_what_was_said_and_nothing_of_who_said_it(
    res: Resources, provider: Provider, settings: Settings
) -> None:
    """L2: no id, nothing of another room; neither does the address have the key (L3)."""
    event, other = posted("about tea"), posted("about coffee")

    await asyncio.gather(*(replies.answer_message(res, each) for each in (event, other)))

    [asked] = [each for each in provider.asked if b"about tea" in each]
    assert b"about coffee" not in asked
    ids = (event.user_id, event.chatroom_id, event.message_id, event.reply_id, event.event_id)
    for secret in (*map(str, ids), *(each.hex for each in ids)):
        assert secret.encode() not in asked
    assert settings.gemini_api_key.get_secret_value().encode() not in asked.partition(b"\n")[0]
    assert set(orjson.loads(asked.partition(b"\n")[2])) == {
        *("contents", "systemInstruction", "generationConfig"),
    }

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.clock import new_id
from libs.common.testing import eventually
from tests.e2e.gemini import Gemini
from tests.e2e.person import Person, View, device_at
from tests.e2e.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]
NEXT = "What did I just say?"


class Stopping:
    """One room on two devices, each at another gateway: one watches, the other one stops."""

    def __init__(self, viewer: Person, stopper: Person, gemini: Gemini, room: str) -> None:
        self.viewer = viewer
        self.gemini = gemini
        self.room = room
        self._stopper = stopper

    async def post(self, prompt: str) -> tuple[str, View, "asyncio.Task[None]"]:
        """Post, and watch the reply; return its id, the view of it, and what reads it."""
        reply = (await self.viewer.post(self.room, prompt)).json()["reply"]["id"]
        view = View(f"/chatroom/{self.room}/message/{reply}/stream")
        return reply, view, asyncio.create_task(view.read(self.viewer))

    async def stop(self, reply: str, reading: "asyncio.Task[None]") -> None:
        """Stop a reply; its viewer has to learn of the end within a second."""
        started = time.monotonic()
        path = f"/chatroom/{self.room}/message/{reply}/stop"
        assert (await self._stopper.http.post(path)).status_code == 200
        await reading
        assert time.monotonic() - started < 1
        again = await self._stopper.http.post(path)
        assert again.status_code == 200
        assert [each["id"] for each in again.json()["data"]] == [reply]

    async def stored(self, reply: str) -> dict[str, Any]:
        """Return the reply once chat has its end."""

        async def ended() -> dict[str, Any] | None:
            path = f"/chatroom/{self.room}/message/{reply}"
            message = await self._stopper.call("GET", path)
            return message if message["status"] not in {"queued", "running"} else None

        stored = await eventually(ended, within_s=2)
        assert stored is not None
        return stored

    async def is_hung_up(self, prompt: str) -> bool:
        """Tell whether the model was asked once, and whether that call was broken off."""
        return [call["aborted"] for call in await self.gemini.calls(prompt)] == [True]

    async def told_next(self) -> list[tuple[str, str]]:
        """Send on, and return the turns that the model gets to see."""
        _, _, reading = await self.post(NEXT)
        await reading
        (call,) = await self.gemini.calls(NEXT)
        return [
            (turn["role"], "".join(part["text"] for part in turn["parts"]))
            for turn in call["body"]["contents"]
        ]


@pytest.fixture
async def stopping(stack: Stack, person: Person, gemini: Gemini) -> AsyncIterator[Stopping]:
    here, there, *_ = stack.gateways()
    async with device_at(here, person) as viewer, device_at(there, person) as stopper:
        yield Stopping(viewer, stopper, gemini, await person.room())


async def test_a_reply_stopped_before_its_first_word_is_empty_and_forgotten(
    stopping: Stopping,
) -> None:
    prompt = f"Please count to 999. {new_id()}"
    await stopping.gemini.order("slow", prompt, delay_s=30)
    reply, view, reading = await stopping.post(prompt)
    await eventually(lambda: stopping.gemini.calls(prompt))

    await stopping.stop(reply, reading)

    assert view.end is not None
    assert (view.end["type"], view.text) == ("generation.stopped", "")
    stored = await stopping.stored(reply)
    assert (stored["status"], stored["content"]) == ("stopped", "")
    assert await eventually(lambda: stopping.is_hung_up(prompt))
    assert await stopping.told_next() == [("user", NEXT)]


async def test_a_reply_stopped_in_mid_stream_keeps_its_text_for_what_follows(
    stopping: Stopping,
) -> None:
    prompt = f"Please count to 999. {new_id()}"
    reply, view, reading = await stopping.post(prompt)
    await view.reaches("10, ")
    await stopping.stop(reply, reading)

    assert view.end is not None
    assert view.end["type"] == "generation.stopped"
    stored = await stopping.stored(reply)
    assert (stored["status"], stored["content"]) == ("stopped", view.text)
    assert ", ".join(map(str, range(1, 1000))).startswith(view.text)
    assert await eventually(lambda: stopping.is_hung_up(prompt))
    assert await stopping.told_next() == [("user", prompt), ("model", view.text), ("user", NEXT)]


async def test_a_reply_stopped_while_it_waits_never_costs_a_call(stopping: Stopping) -> None:
    prompt, waiting = f"Please count to 999. {new_id()}", f"Please count to 9. {new_id()}"
    first, first_view, first_reading = await stopping.post(prompt)
    await first_view.reaches("10, ")
    second, view, reading = await stopping.post(waiting)

    await stopping.stop(second, reading)

    assert view.end is not None
    assert (view.end["type"], view.text) == ("generation.stopped", "")
    assert (await stopping.stored(second))["status"] == "stopped"
    assert not first_reading.done()
    await stopping.stop(first, first_reading)
    assert await stopping.told_next() == [
        ("user", prompt),
        ("model", first_view.text),
        ("user", NEXT),
    ]
    assert await stopping.gemini.calls(waiting) == []

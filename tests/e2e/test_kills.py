import asyncio
import time

import httpx2
import pytest

from libs.common.clock import new_id
from tests.e2e.conftest import Person, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
ROOMS = 4
POSTS = 5
"""Messages that each room gets, one after the other, while the victim dies."""


async def post_until_accepted(person: Person, room: str, content: str) -> str:
    """Post as a client with patience does: again, with the same key, until it is accepted."""
    key = str(new_id())
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = await person.post(room, content, key)
        except httpx2.TransportError:
            answer = None
        if answer is not None and answer.status_code == 202:
            return str(answer.json()["reply"]["id"])
        if answer is not None:
            assert answer.status_code >= 500, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "victim", ["ai", "chat", "auth", "gateway", "gemini", "postgres", "rabbitmq", "valkey"]
)
async def test_every_accepted_message_is_answered_once_whatever_is_killed(
    person: Person, stack: Stack, victim: str
) -> None:
    await person.pay(stack.url("stripe"))
    rooms = [await person.room() for _ in range(ROOMS)]

    async def talk(room: str) -> list[str]:
        return [await post_until_accepted(person, room, f"Count to {20 + i}") for i in range(POSTS)]

    talks = [asyncio.create_task(talk(room)) for room in rooms]
    await asyncio.sleep(0.3)
    assert stack.kill(victim) >= 1
    accepted = await asyncio.gather(*talks)

    for room, reply_ids in zip(rooms, accepted, strict=True):
        messages = await person.ended(room, within_s=90)
        assert [(m["role"], m["status"]) for m in messages] == [
            ("user", "completed"),
            ("assistant", "completed"),
        ] * POSTS
        assert [m["id"] for m in messages[1::2]] == reply_ids
        assert [m["content"] for m in messages[::2]] == [f"Count to {20 + i}" for i in range(POSTS)]
        last = messages[-1]
        text, _ = await person.follow(f"/chatroom/{room}/message/{last['id']}/stream")
        assert text == last["content"]
    stack.wait_ready()

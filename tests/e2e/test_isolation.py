import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.e2e.person import Person, logged_in
from tests.e2e.stack import LIMIT, Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]
PEOPLE, ROOMS = 50, LIMIT
MARK = re.compile(rb"mark\d{6}")


@pytest.fixture
async def fifty(stack: Stack) -> AsyncIterator[list[Person]]:
    async with AsyncExitStack() as clients:
        yield await asyncio.gather(
            *(clients.enter_async_context(logged_in(stack)) for _ in range(PEOPLE))
        )


async def stream(person: Person, room: str, mark: str) -> bytes:
    """Post and read the reply in one request; return every byte of the answer."""
    body = {"content": f"Tell me a story about {mark}"}
    headers = {"accept": "text/event-stream"}
    answer = await person.http.post(
        f"/chatroom/{room}/message", json=body, headers=headers, timeout=120
    )
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_500_streams_of_50_people_hold_no_foreign_byte(fifty: list[Person]) -> None:
    """S3, R7: 10 rooms each, at the same time, over three gateways."""
    rooms = [(person, await person.room()) for person in fifty for _ in range(ROOMS)]
    marks = [f"mark{100_000 + number}" for number in range(len(rooms))]

    streams = await asyncio.gather(
        *(stream(person, room, mark) for (person, room), mark in zip(rooms, marks, strict=True))
    )

    for mark, content in zip(marks, streams, strict=True):
        assert set(MARK.findall(content)) == {mark.encode()}
        assert content.count(b"generation.completed") == 2  # the event's name and its type
    listed = await asyncio.gather(*(person.messages(room) for person, room in rooms))
    for mark, messages in zip(marks, listed, strict=True):
        assert [each["status"] for each in messages] == ["completed"] * 2
        assert all(set(re.findall(r"mark\d{6}", each["content"])) == {mark} for each in messages)

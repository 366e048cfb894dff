"""Many users and rooms at once: nobody is told a byte of another's."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.replies import Entry, ReplyWriter, stream_key
from services.gateway.feed import FeedStore
from services.gateway.tests.integration.conftest import FakeServices, Start
from services.gateway.tests.integration.socket_client import Socket, socket_to

pytestmark = pytest.mark.integration
USERS, ROOMS, WORDS = 50, 10, 5


class Person:
    """A user with one reply in each room, all over one connection, and the feed."""

    def __init__(self, fakes: FakeServices) -> None:
        self.id, self.room_id = new_id(), new_id()
        self.token = fakes.token(self.id)
        self.replies = [new_id() for _ in range(ROOMS)]
        for reply_id in self.replies:
            fakes.messages[str(reply_id)] = {"role": "assistant", "status": "running"}

    def word(self, reply_id: UUID, number: int) -> str:
        return f"{self.id}/{reply_id}/{number} "

    async def subscribe(self, socket: Socket) -> None:
        answer = await socket.ask(op="subscribe")
        assert answer["op"] == "ok", answer
        for reply_id in self.replies:
            answer = await socket.ask(op="subscribe", chatroom_id=self.room_id, reply_id=reply_id)
            assert answer["op"] == "ok", answer

    async def read(self, socket: Socket) -> list[str]:
        """Return every frame up to the end of every reply and the feed's last event."""
        frames: list[str] = []
        ended = 0
        while ended < ROOMS + 1:
            frame = str(await socket.connection.recv())
            frames.append(frame)
            ended += "generation.completed" in frame or "chatroom.deleted" in frame
        return frames

    async def write(self, redis: Redis) -> None:
        writer = ReplyWriter(redis)
        for reply_id in self.replies:
            key = stream_key(user_id=self.id, chatroom_id=self.room_id, reply_id=reply_id)
            offset = 0
            for number in range(WORDS):
                word = self.word(reply_id, number)
                await writer.append(key, Entry("delta", 1, offset, word))
                offset += len(word)
            await writer.append(key, Entry("completed", 1, offset))
        feed = FeedStore(redis, redis)
        await feed.append(self.id, new_id(), {"type": "x", "whose": str(self.id)})
        await feed.append(self.id, new_id(), {"type": "chatroom.deleted"})


async def test_50_users_with_10_rooms_each_see_their_own_and_no_foreign_byte(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    people = [Person(fakes) for _ in range(USERS)]
    limits = {"user_requests_per_minute": 0, "anonymous_requests_per_minute": 0}
    async with asyncio.timeout(120), start_gateway(**limits) as client, AsyncExitStack() as stack:
        sockets = []
        for person in people:
            sockets.append(await stack.enter_async_context(socket_to(client, person.token)))
            await person.subscribe(sockets[-1])
        reading = [
            asyncio.create_task(person.read(socket))
            for person, socket in zip(people, sockets, strict=True)
        ]
        await asyncio.gather(*(person.write(redis) for person in people))
        seen = await asyncio.gather(*reading)

    ids = {str(person.id) for person in people}
    for person, frames in zip(people, seen, strict=True):
        everything = "".join(frames)
        assert {foreign for foreign in ids if foreign in everything} == {str(person.id)}
        for reply_id in person.replies:
            words = [person.word(reply_id, number) for number in range(WORDS)]
            assert all(everything.count(word) == 1 for word in words)

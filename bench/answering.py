"""Conversations in rooms, and the proof that chat stored one right reply to each message."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bench.client import Exchange, Lane, connect, post
from bench.measures import Tally, VoidError
from bench.people import numbered, owner
from bench.system import System

if TYPE_CHECKING:
    import asyncpg

LOOK_S = 0.025
"""Seconds between two looks at which replies chat has stored."""

SERVERS = ("postgres", "rabbitmq", "valkey")
SERVICES = ("gateway", "chat", "ai")
_ENDS_WITHIN_S = 60.0
_MOST_TURNS = 100
# OFFSET keeps the planner from reading the whole table: looking must cost next to nothing.
_ENDED = """
SELECT ended.id
FROM unnest($1::uuid[], $2::uuid[]) AS open (chatroom_id, id), LATERAL (
    SELECT m.id FROM chat.message m
    WHERE m.chatroom_id = open.chatroom_id AND m.id = open.id AND m.ended_at IS NOT NULL
    OFFSET 0
) ended
"""
_STORED = """
SELECT chatroom_id, array_agg(content ORDER BY id) AS texts, array_agg(status ORDER BY id) AS states
FROM chat.message WHERE chatroom_id = ANY($1) GROUP BY chatroom_id
"""
_ENDED_IN = """
SELECT count(*) FROM chat.message
WHERE chatroom_id = ANY($1) AND role = 'assistant' AND ended_at IS NOT NULL
"""
_GENERATIONS = """
SELECT count(*), coalesce(max(attempt), 0) FROM ai.generation WHERE chatroom_id = ANY($1)
"""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a user says in a room, turn by turn: each message a sum of its own."""

    room: int
    turns: int

    def says(self, turn: int) -> str:
        return f"{self._number(turn)} + 1"

    def is_answered(self, turn: int, reply: str) -> bool:
        """Return whether that is the reply to the turn, and to no other one."""
        number = self._number(turn)
        return reply.startswith(f"{number} + 1 = **{number + 1:,}**.")

    def request(self, system: System, turn: int) -> Exchange:
        """Return the post of the turn."""
        body = json.dumps({"content": self.says(turn)}).encode()
        path = f"/chatroom/{numbered(self.room)}/message"
        return post(path, system.people.authorizations[owner(self.room)], body, status=202)

    def _number(self, turn: int) -> int:
        return self.room * _MOST_TURNS + turn


class _Replies:
    """Replies that users wait for: by id, the room and who is told."""

    def __init__(self) -> None:
        self.open: dict[UUID, tuple[UUID, asyncio.Future[None]]] = {}

    async def wait_for(self, room: UUID, reply: UUID) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open[reply] = room, told
        async with asyncio.timeout(_ENDS_WITHIN_S):
            await told

    async def look(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Tell users what chat has stored, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            rooms = [room for room, _ in self.open.values()]
            for row in await conn.fetch(_ENDED, rooms, list(self.open)):
                _, told = self.open.pop(row["id"])
                told.set_result(None)


async def converse(system: System, talks: list[Conversation]) -> Tally:
    """Hold all conversations at the same time; each waits for a reply before it goes on.

    Raises:
        VoidError: a message is refused, or its reply is not stored within a minute.
    """
    latencies: list[float] = []
    replies = _Replies()

    async def talk(lane: Lane, conversation: Conversation) -> None:
        for turn in range(conversation.turns):
            started = time.perf_counter()
            answer = json.loads(await lane.ask(conversation.request(system, turn)))
            await replies.wait_for(numbered(conversation.room), UUID(answer["reply"]["id"]))
            latencies.append(time.perf_counter() - started)

    async with AsyncExitStack() as stack:
        conn = await system.connect()
        stack.push_async_callback(conn.close)
        lanes = [await connect(system.port("gateway"), lambda: None) for _ in talks]
        for lane in lanes:
            stack.callback(lane.close)
        look = asyncio.create_task(replies.look(conn))
        stack.callback(look.cancel)
        started = time.perf_counter()
        try:
            await asyncio.gather(*map(talk, lanes, talks))
        except TimeoutError as exc:
            raise VoidError(f"{len(replies.open)} replies are lost") from exc
        return Tally(len(latencies), time.perf_counter() - started, latencies)


async def until_answered(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: Sequence[int], replies: int, within_s: float
) -> None:
    """Wait until that many replies have ended in the rooms, well or not.

    Raises:
        VoidError: they are fewer for too long.
    """
    deadline, ended = time.monotonic() + within_s, -1
    while ended < replies:
        if time.monotonic() > deadline:
            raise VoidError(f"{replies - ended} of {replies} replies are lost")
        await asyncio.sleep(0.1)
        ended = await admin.fetchval(_ENDED_IN, list(map(numbered, rooms)))


async def ensure_untouched(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: Iterable[int]
) -> None:
    """Raise VoidError if a message is stored in one of the rooms."""
    if found := await admin.fetch(_STORED, list(map(numbered, rooms))):
        raise VoidError(f"in {len(found)} rooms a post is stored that was refused")


async def ensure_answered_once(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: Sequence[int], *, turns: int
) -> int:
    """Compare what chat stored with what was said, and count the generations.

    Returns:
        How often the model was asked for the reply for which it was asked most often.

    Raises:
        VoidError: a message is lost, doubled, out of order or has another one's reply.
    """
    ids = list(map(numbered, rooms))
    stored = {row["chatroom_id"]: row for row in await admin.fetch(_STORED, ids)}
    for room in rooms:
        talk, found = Conversation(room, turns), stored.get(numbered(room))
        texts, states = (found["texts"], found["states"]) if found else ([], [])
        if states != ["completed"] * 2 * turns:
            raise VoidError(f"{turns} messages and their replies are stored as {states}")
        if texts[::2] != [talk.says(turn) for turn in range(turns)]:
            raise VoidError(f"messages are lost, doubled or out of order: {texts[::2]}")
        if not all(map(talk.is_answered, range(turns), texts[1::2])):
            raise VoidError(f"a reply is another message's: {texts}")
    generations, attempts = await admin.fetchrow(_GENERATIONS, ids) or (0, 0)
    expected = len(rooms) * turns
    if generations != expected:
        raise VoidError(f"there are {generations} generations, not {expected}")
    return int(attempts)

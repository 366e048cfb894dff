"""Conversations in rooms, and the proof that chat stored one right reply to each message."""

import asyncio
import json
import time
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
_ENDED = """
SELECT id FROM chat.message
WHERE chatroom_id = ANY($1) AND id = ANY($2) AND ended_at IS NOT NULL
"""
_STORED = """
SELECT chatroom_id, array_agg(content ORDER BY id) AS texts, array_agg(status ORDER BY id) AS states
FROM chat.message WHERE chatroom_id BETWEEN $1 AND $2 GROUP BY chatroom_id
"""
_GENERATIONS = """
SELECT count(*), coalesce(max(attempt), 0) FROM ai.generation WHERE chatroom_id BETWEEN $1 AND $2
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


async def ensure_answered_once(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: range, *, turns: int
) -> None:
    """Compare what chat stored with what was said, and count the generations.

    Raises:
        VoidError: a message is lost, doubled, out of order or has another one's reply.
    """
    first, last = numbered(rooms.start), numbered(rooms.stop - 1)
    stored = {row["chatroom_id"]: row for row in await admin.fetch(_STORED, first, last)}
    for room in rooms:
        talk, found = Conversation(room, turns), stored.get(numbered(room))
        texts, states = (found["texts"], found["states"]) if found else ([], [])
        if states != ["completed"] * 2 * turns:
            raise VoidError(f"{turns} messages and their replies are stored as {states}")
        if texts[::2] != [talk.says(turn) for turn in range(turns)]:
            raise VoidError(f"messages are lost, doubled or out of order: {texts[::2]}")
        if not all(map(talk.is_answered, range(turns), texts[1::2])):
            raise VoidError(f"a reply is another message's: {texts}")
    generations, attempts = await admin.fetchrow(_GENERATIONS, first, last) or (0, 0)
    expected = len(rooms) * turns
    if generations != expected or attempts != 1:
        raise VoidError(f"{generations} generations and attempt {attempts}, not {expected} and 1")

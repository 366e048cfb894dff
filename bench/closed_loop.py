"""A message and its reply: gateway, chat, broker, ai, the Gemini emulator, and back into chat."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from bench.client import Exchange, Lane, connect, post
from bench.measures import (
    Figure,
    Outcome,
    Round,
    Sample,
    Tally,
    VoidError,
    interleaved,
    measure,
    was_quiet,
)
from bench.people import numbered, owner
from bench.plan import Plan
from bench.rabbit import dead_letters
from bench.system import System

if TYPE_CHECKING:
    import asyncpg

VISITORS = 32
"""Users at the same time, each with one message on its way."""

LOOK_S = 0.025
"""Seconds between two looks at which replies chat has stored."""

_ENDS_WITHIN_S = 60.0
_SERVERS = ("postgres", "rabbitmq", "valkey")
_SERVICES = ("gateway", "chat", "ai")
_ENDED = """
SELECT id FROM chat.message
WHERE chatroom_id = ANY($1) AND id = ANY($2) AND ended_at IS NOT NULL
"""
_CONVERSATIONS = """
SELECT chatroom_id, array_agg(content ORDER BY id) AS texts, array_agg(status ORDER BY id) AS states
FROM chat.message WHERE chatroom_id BETWEEN $1 AND $2 GROUP BY chatroom_id
"""
_GENERATIONS = """
SELECT count(*), coalesce(max(attempt), 0) FROM ai.generation WHERE chatroom_id BETWEEN $1 AND $2
"""


@dataclass(slots=True)
class _Replies:
    """Replies that visitors wait for: by id, the room and who is told."""

    open: dict[UUID, tuple[UUID, asyncio.Future[None]]]

    async def wait_for(self, room: UUID, reply: UUID) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open[reply] = room, told
        async with asyncio.timeout(_ENDS_WITHIN_S):
            await told

    async def look(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Tell visitors what chat has stored, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            rooms = [room for room, _ in self.open.values()]
            for row in await conn.fetch(_ENDED, rooms, list(self.open)):
                _, told = self.open.pop(row["id"])
                told.set_result(None)


async def run(system: System, plan: Plan) -> Outcome:
    """Measure answered messages a second, and the CPU that each process spends on one."""
    await system.require("auth", *_SERVERS, "gemini", "chat", "ai", "gateway")
    await system.tidy()
    rounds = await interleaved({"replies": partial(_side, system, plan)}, plan.rounds)
    if dead := await dead_letters(system.stack.rabbitmq.url):
        raise VoidError(f"{dead} deliveries ended as dead letters")
    return Outcome(
        rounds=rounds,
        figures=_figures(rounds),
        counts={
            "replies compared": sum(each["replies"].operations for each in rounds),
            "lost": 0,
            "doubled": 0,
        },
        notes=[
            f"{VISITORS} users at the same time; a room of its own for each message, so no history",
            "a reply is one sum; the emulator sends it at once, in about three pieces",
        ],
    )


async def _side(system: System, plan: Plan) -> Sample:
    admin = await system.connect()
    rooms = await system.people.move_in(admin, plan.replies)
    pids = system.pids(*_SERVICES, *_SERVERS, "gemini") | {"client": os.getpid()}
    sample = await measure(partial(_load, system, rooms), pids)
    await _ensure_answered_once(admin, rooms)
    await admin.close()
    return _without_children(sample)


async def _load(system: System, rooms: range) -> Tally:
    latencies: list[float] = []
    left: Iterator[int] = iter(rooms)
    replies = _Replies({})

    async def visit(lane: Lane) -> None:
        for room in left:
            started = time.perf_counter()
            answer = json.loads(await lane.ask(_request(system, room)))
            await replies.wait_for(numbered(room), UUID(answer["reply"]["id"]))
            latencies.append(time.perf_counter() - started)

    async with AsyncExitStack() as stack:
        conn = await system.connect()
        stack.push_async_callback(conn.close)
        lanes = [await connect(system.port("gateway"), lambda: None) for _ in range(VISITORS)]
        for lane in lanes:
            stack.callback(lane.close)
        look = asyncio.create_task(replies.look(conn))
        stack.callback(look.cancel)
        started = time.perf_counter()
        try:
            await asyncio.gather(*(visit(lane) for lane in lanes))
        except TimeoutError as exc:
            raise VoidError(f"{len(replies.open)} replies are lost") from exc
        return Tally(len(latencies), time.perf_counter() - started, latencies)


async def _ensure_answered_once(admin: "asyncpg.Connection[asyncpg.Record]", rooms: range) -> None:
    first, last = numbered(rooms.start), numbered(rooms.stop - 1)
    conversations = {
        row["chatroom_id"]: row for row in await admin.fetch(_CONVERSATIONS, first, last)
    }
    for room in rooms:
        found = conversations[numbered(room)]
        texts: list[str] = found["texts"]
        if found["states"] != ["completed", "completed"] or texts[0] != _sum(room):
            raise VoidError(f"a message has {len(texts) - 1} replies: {found['states']}")
        if not texts[1].startswith(_answer(room)):
            raise VoidError(f"a reply is another message's: {texts}")
    generations, attempts = await admin.fetchrow(_GENERATIONS, first, last) or (0, 0)
    if generations != len(rooms) or attempts != 1:
        raise VoidError(f"{generations} generations and attempt {attempts}, not {len(rooms)} and 1")


def _without_children(sample: Sample) -> Sample:
    """Take from the client's cost that of the processes that it started: all the others."""
    others = sum(cost for name, cost in sample.cpu_us.items() if name != "client")
    own = max(0.0, sample.cpu_us["client"] - others)
    return replace(sample, cpu_us={**sample.cpu_us, "client": own})


def _figures(rounds: list[Round]) -> list[Figure]:
    samples = [each["replies"] for each in rounds]
    cores = len(os.sched_getaffinity(0))
    used = [each.per_s * sum(each.cpu_us.values()) / 1e6 for each in samples]
    share = [each / cores for each in used]
    of_rest = [u / (cores - each.foreign_cores) for u, each in zip(used, samples, strict=True)]
    quiet = was_quiet(rounds)
    services = [sum(each.cpu_us[name] for name in _SERVICES) for each in samples]
    return [
        # On a machine with other work the ceiling is what that work leaves.
        Figure("messages / (cores / CPU per message)", share, "x", at_least=0.6 if quiet else None),
        Figure("the same of the cores that others left", of_rest, "x", at_least=0.6),
        Figure("messages answered", [each.per_s for each in samples], "/s"),
        Figure("CPU per message", [sum(each.cpu_us.values()) for each in samples], "µs"),
        Figure("of it our services", services, "µs"),
        *(
            Figure(f"of it {name}", [each.cpu_us[name] for each in samples], "µs")
            for name in samples[0].cpu_us
        ),
        Figure("POST to stored reply, p50", [each.p50_ms or 0 for each in samples], "ms"),
        Figure("CPU of others", [each.foreign_cores for each in samples], "cores"),
    ]


def _request(system: System, room: int) -> Exchange:
    body = json.dumps({"content": _sum(room)}).encode()
    path = f"/chatroom/{numbered(room)}/message"
    return post(path, system.people.authorizations[owner(room)], body, status=202)


def _sum(room: int) -> str:
    return f"{room} + 1"


def _answer(room: int) -> str:
    return f"{room} + 1 = **{room + 1:,}**."

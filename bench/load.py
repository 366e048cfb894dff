"""V1, V2, V3, V4: steady reads, steady messages, a burst of posts, and memory after all that again.

Everything goes through the gateway, once: these are promises about one run, not comparisons.
"""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

from bench import everything
from bench.answering import (
    SERVERS,
    SERVICES,
    Conversation,
    ensure_answered_once,
    ensure_untouched,
    until_answered,
)
from bench.client import Exchange, Lane, connect, connected, get
from bench.cpu import rss_mib
from bench.measures import Figure, Outcome, Tally, VoidError, percentile_ms
from bench.people import LISTED_ROOMS, USERS, numbered, owner
from bench.plan import Plan
from bench.rabbit import dead_letters
from bench.rooms import fill
from bench.system import System

if TYPE_CHECKING:
    import asyncpg

READS_PER_S = 100.0
MESSAGES_PER_S = 20.0
ROOMS = 20
"""Rooms that the steady messages go to, in turn."""

LANES = 64
AFTER_S = 5.0
"""How long others are looked at after the burst, while its replies are being written."""

_LIST = b"GET /chatroom HTTP/1.1"
_TAKEN, _REFUSED = 202, (429, 503)
_ENDS_WITHIN_S = 120.0


async def run(system: System, plan: Plan) -> Outcome:
    """Measure what V1 to V4 promise, one after the other."""
    await system.require("auth", *SERVERS, "gemini", "chat", "ai", "gateway")
    admin = await system.connect()
    reads = await _reads(system, admin)
    await system.tidy()
    steady_reads = await _at_rate(system, reads, per_s=READS_PER_S, seconds=plan.load_seconds)
    messages, accepted = await _messages(system, admin, plan)
    # Whoever posts moves a room to the top of their list, so that its body is another one.
    loosely = [replace(each, body=None) if _LIST in each.request else each for each in reads]
    statuses, attempts, after = await _burst(system, admin, plan, loosely)
    growth = await _growth(system, admin, plan)
    if dead := await dead_letters(system.stack.rabbitmq.url):
        raise VoidError(f"{dead} deliveries ended as dead letters")
    await admin.close()
    p99 = percentile_ms(steady_reads.latencies_s, 0.99) or 0
    p95 = percentile_ms(accepted.latencies_s, 0.95) or 0
    p95_after = percentile_ms(after.latencies_s, 0.95) or 0
    return Outcome(
        rounds=[],
        figures=[
            Figure(f"V1: {READS_PER_S:g} reads a second, p99", [p99], "ms", at_most=500),
            Figure(f"V2: {MESSAGES_PER_S:g} messages a second, p95", [p95], "ms", at_most=500),
            Figure("V3: refused of the posts at once", [statuses.total() - statuses[_TAKEN]], ""),
            Figure("V3: calls to the model for a reply, at most", [attempts]),
            Figure("V3: p95 of reads afterwards", [p95_after], "ms", at_most=500),
            *(
                Figure(f"V4: memory of {name} / allowed", [share], "x", at_most=1)
                for name, share in growth.items()
            ),
        ],
        counts={
            "reads compared": steady_reads.operations + after.operations,
            "replies compared": messages + statuses[_TAKEN],
            "lost": 0,
            "doubled": 0,
            "out of order": 0,
        },
        notes=[
            f"V1 and V2: {plan.load_seconds:g} s each; the model answers at once",
            f"V3: {plan.burst} posts at once; reads right after the last was answered",
            f"V4: after {plan.everything} rounds of everything, +10 % and 20 MB are allowed",
        ],
    )


async def _reads(system: System, admin: "asyncpg.Connection[asyncpg.Record]") -> list[Exchange]:
    """Return what users read, with the answers that must come: their rooms, and a full room."""
    rooms = await system.people.move_in(admin, USERS * LISTED_ROOMS, titled=True)
    full = rooms[-USERS:]
    await fill(admin, full, 2 * LISTED_ROOMS, recent=2 * LISTED_ROOMS)
    lane = await connect(system.port("gateway"), lambda: None)
    exchanges = []
    for room in full:
        for path in ("/chatroom", f"/chatroom/{numbered(room)}/message"):
            authorization = system.people.authorizations[owner(room)]
            body = await lane.ask(get(path, authorization))
            if len(json.loads(body)["data"]) != LISTED_ROOMS:
                raise VoidError(f"a page is not full: {body[:200]!r}")
            exchanges.append(get(path, authorization, body=body))
    lane.close()
    return exchanges


async def _at_rate(
    system: System, exchanges: list[Exchange], *, per_s: float, seconds: float
) -> Tally:
    """Send at a fixed rate; the run is void if one answer is wrong or missing."""
    port = system.port("gateway")
    async with connected(port, lanes=LANES, exchanges=cycle(exchanges)) as client:
        return await client.open_loop(per_s=per_s, seconds=seconds)


async def _messages(
    system: System, admin: "asyncpg.Connection[asyncpg.Record]", plan: Plan
) -> tuple[int, Tally]:
    """Post at a fixed rate in some rooms in turn (V2); check that each got its reply, in order."""
    turns = int(MESSAGES_PER_S * plan.load_seconds) // ROOMS
    rooms = await system.people.move_in(admin, ROOMS)
    talks = [Conversation(room, turns) for room in rooms]
    posts = [talk.request(system, turn) for turn in range(turns) for talk in talks]
    tally = await _at_rate(system, posts, per_s=MESSAGES_PER_S, seconds=len(posts) / MESSAGES_PER_S)
    await until_answered(admin, rooms, len(posts), within_s=_ENDS_WITHIN_S)
    await ensure_answered_once(admin, rooms, turns=turns)
    return len(posts), tally


async def _burst(
    system: System,
    admin: "asyncpg.Connection[asyncpg.Record]",
    plan: Plan,
    reads: list[Exchange],
) -> tuple["Counter[int]", int, Tally]:
    """Post in many rooms at once (V3); what was taken is answered, what was refused left no trace.

    Returns:
        How many posts got which status, how often the model was asked at most for one reply, and
        what reads took right afterwards.
    """
    rooms = await system.people.move_in(admin, plan.burst, titled=True)
    lanes = [await connect(system.port("gateway"), lambda: None) for _ in rooms]

    async def send(lane: Lane, room: int) -> int:
        status, body = await lane.answer(Conversation(room, 1).request(system, 0).request)
        if status not in (_TAKEN, *_REFUSED):
            raise VoidError(f"one of many posts is answered by {status}: {body[:200]!r}")
        return status

    statuses = await asyncio.gather(*map(send, lanes, rooms))
    for lane in lanes:
        lane.close()
    after = await _at_rate(
        system, reads, per_s=READS_PER_S, seconds=min(AFTER_S, plan.load_seconds)
    )
    taken = [room for room, status in zip(rooms, statuses, strict=True) if status == _TAKEN]
    await until_answered(admin, rooms, len(taken), within_s=_ENDS_WITHIN_S)
    attempts = await ensure_answered_once(admin, taken, turns=1)
    await ensure_untouched(admin, set(rooms) - set(taken))
    return Counter(statuses), attempts, after


async def _growth(
    system: System, admin: "asyncpg.Connection[asyncpg.Record]", plan: Plan
) -> dict[str, float]:
    """Do everything again and again (V4); return each service's memory over what is allowed."""
    await everything.once(system, admin)
    before = {name: rss_mib(pid) for name, pid in system.pids(*SERVICES).items()}
    for _ in range(plan.everything):
        await everything.once(system, admin)
    after = {name: rss_mib(pid) for name, pid in system.pids(*SERVICES).items()}
    return {name: after[name] / (1.1 * before[name] + 20) for name in before}

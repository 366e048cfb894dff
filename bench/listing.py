"""The cached `GET /chatroom`, straight at chat, next to a raw ASGI app with the same bytes."""

import json
import os
from collections.abc import Iterator
from functools import partial

from bench.client import Exchange, connect, connected, get
from bench.cpu import pinned
from bench.measures import (
    Figure,
    Outcome,
    Round,
    Sample,
    Tally,
    VoidError,
    interleaved,
    measure,
)
from bench.people import LISTED_ROOMS, USERS, numbered, owner
from bench.plan import Plan
from bench.system import System

PATH = "/chatroom"
LANES = 16


async def run(system: System, plan: Plan) -> Outcome:
    """Measure the CPU that each side needs for a page of 20 rooms."""
    await system.require("auth", "postgres", "rabbitmq", "valkey", "chat")
    cached = await _pages(system)
    reference = cached[0].body or b""
    await system.start_raw("raw", {PATH: reference.decode()})
    turns = {"chat": cached, "raw": [get(PATH, body=reference)]}
    sides = {name: partial(_side, system, plan, name, of) for name, of in turns.items()}
    servers = [system.pid(name) for name in ("valkey", "postgres", "rabbitmq")]
    with pinned([system.pid("chat"), system.pid("raw")], [os.getpid(), *servers]):
        rounds = await interleaved(sides, plan.rounds)
    ratio = [_cpu(each, "chat") / _cpu(each, "raw") for each in rounds]
    return Outcome(
        rounds=rounds,
        figures=[
            Figure("chat CPU / raw ASGI CPU", ratio, "x", at_most=5),
            Figure("chat CPU per request", [_cpu(each, "chat") for each in rounds], "µs"),
            Figure("raw ASGI CPU per request", [_cpu(each, "raw") for each in rounds], "µs"),
            Figure("chat requests", [each["chat"].per_s for each in rounds], "/s"),
            Figure("chat memory", [each["chat"].rss_mib["chat"] for each in rounds], "MiB"),
        ],
        counts={"answers compared": sum(s.operations for each in rounds for s in each.values())},
        notes=[f"{USERS} users in turn, {LISTED_ROOMS} rooms each: {len(reference)} bytes"],
    )


async def _pages(system: System) -> list[Exchange]:
    """Give every user a full page of rooms, read it once, and return what must come ever after.

    Raises:
        VoidError: a page does not hold the user's rooms.
    """
    admin = await system.connect()
    rooms = await system.people.move_in(admin, USERS * LISTED_ROOMS)
    await admin.close()
    ids = {user: set[str]() for user in range(USERS)}
    for room in rooms:
        ids[owner(room)].add(str(numbered(room)))
    lane = await connect(system.port("chat"), lambda: None)
    pages = []
    for user, authorization in enumerate(system.people.authorizations):
        body = await lane.ask(get(PATH, authorization))
        if {room["id"] for room in json.loads(body)["data"]} != ids[user]:
            raise VoidError("a page of rooms is not its user's")
        pages.append(get(PATH, authorization, body=body))
    lane.close()
    return pages


async def _side(system: System, plan: Plan, name: str, exchanges: list[Exchange]) -> Sample:
    async def load() -> Tally:
        turn = _in_turn(exchanges)
        async with connected(system.port(name), lanes=LANES, exchanges=turn) as client:
            return await client.closed_loop(seconds=plan.seconds, operations=plan.requests)

    return await measure(load, system.pids(name))


def _in_turn(exchanges: list[Exchange]) -> Iterator[Exchange]:
    while True:
        yield from exchanges


def _cpu(each: Round, name: str) -> float:
    return each[name].cpu_us[name]

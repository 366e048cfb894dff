"""S6: many connections on which nothing happens: what each takes in memory, and whom it slows.

Each follows its user's feed, `GET /event` or the same over `/ws`, at a gateway of its own that
has held only a few before. The reference holds as many viewers of `bench.bare_relay`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import TypeAlias

from bench import bare_relay
from bench.client import connected, get
from bench.cpu import pss_kib
from bench.event_stream import stream_lanes
from bench.measures import Figure, Outcome, Sample, Tally, interleaved, measure, percentile_ms
from bench.plan import Plan
from bench.system import PROFILE, System
from bench.web_socket import socket_lanes
from deploy.local.process import Command
from deploy.local.server import listens
from deploy.local.stack import is_healthy

HEARTBEAT_S = 4.0
"""Seconds between two signs of life of an SSE stream; usually 15."""

HELD_S = 2 * HEARTBEAT_S
OTHERS_PER_S = 50.0
MOST_ROUNDS = 2
"""Memory moves little from round to round."""

BEFORE = 50
"""Connections that are held already when the others come: what only the first needs is there."""

FIRST_USER = 1000
_AT_ONCE = 50
_SETTLE_S = 1.0
_WITHIN_S = 30.0
_FOLLOW = (
    b"GET /event HTTP/1.1\r\nHost: chat.example.com\r\nAccept: text/event-stream\r\n"
    b"Authorization: %b\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, "
    b"like Gecko) Chrome/142.0.0.0 Safari/537.36\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n"
    b"Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n\r\n"
)
"""As a browser asks: what it sends is kept for as long as the stream is open."""

IsOpen: TypeAlias = Callable[[], bool]
Hold: TypeAlias = Callable[[int, range], AbstractAsyncContextManager[list[IsOpen]]]
"""Holds connections of these users to a port; tells of each whether it is still as it should."""


@dataclass(slots=True)
class _Found:
    """What a side finds besides its samples, by round."""

    kib: list[float] = field(default_factory=list)
    is_open: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)


async def run(system: System, plan: Plan) -> Outcome:
    """Hold idle connections and measure memory, and other users' requests meanwhile."""
    await system.require("auth", "rabbitmq", "valkey")
    users = system.people.log_in(range(FIRST_USER, FIRST_USER + BEFORE + plan.connections))
    found = {name: _Found() for name in ("SSE", "WebSocket", "bare SSE")}
    sides: dict[str, tuple[Callable[[System], Command], Hold]] = {
        "SSE": (_gateway, partial(_following, users)),
        "WebSocket": (_gateway, partial(_subscribed, users)),
        "bare SSE": (_bare_server, _watching),
    }
    rounds = await interleaved(
        {
            name: partial(_side, system, plan, command(system), hold, found[name])
            for name, (command, hold) in sides.items()
        },
        min(plan.rounds, MOST_ROUNDS),
    )
    return Outcome(
        rounds=rounds,
        figures=_figures({name: _counted(each, len(rounds)) for name, each in found.items()}),
        counts={"connections held": len(sides) * len(rounds) * plan.connections},
        notes=[
            f"{plan.connections} connections of as many users to one process; memory is PSS",
            f"an SSE stream has a heartbeat every {HEARTBEAT_S:g} s, a WebSocket a ping every 20",
            f"others: GET /user/me through the same gateway, {OTHERS_PER_S:g} a second",
        ],
    )


async def _side(system: System, plan: Plan, command: Command, hold: Hold, found: _Found) -> Sample:
    """Hold connections to a process that was started for them."""
    is_gateway = command.name == "idle-gateway"
    await system.start(command, is_healthy if is_gateway else listens)
    pid = system.pid(command.name)
    async with (
        hold(command.port, range(BEFORE)) as first,
        _weighed(pid) as before_kib,
        hold(command.port, range(BEFORE, BEFORE + plan.connections)) as connections,
    ):
        others = partial(_others, system, command.port, found)
        sample = await measure(others if is_gateway else _nobody, {command.name: pid})
        found.kib.append((pss_kib(pid) - before_kib) / plan.connections)
        held = [is_open() for is_open in first + connections]
        found.is_open.append(sum(held) / len(held))
    await system.end(command.name)
    return sample


@asynccontextmanager
async def _weighed(pid: int) -> AsyncIterator[int]:
    """Provide the memory of a process that has done what it does but once."""
    await asyncio.sleep(_SETTLE_S)
    yield pss_kib(pid)


async def _others(system: System, port: int, found: _Found) -> Tally:
    """Ask as others do while the connections are held."""
    exchange = get("/user/me", system.people.authorizations[0], body=PROFILE.encode())
    async with connected(port, lanes=16, exchanges=repeat(exchange)) as client:
        tally = await client.open_loop(per_s=OTHERS_PER_S, seconds=HELD_S)
    found.p95_ms.append(percentile_ms(tally.latencies_s, 0.95) or 0)
    return tally


async def _nobody() -> Tally:
    await asyncio.sleep(_SETTLE_S)
    return Tally(1, _SETTLE_S)


def _gateway(system: System) -> Command:
    """Return a gateway that has nothing else to do, at a port of its own."""
    (usual,) = (each for each in system.stack.services() if each.name == "gateway")
    port = system.free_port()
    env = {**usual.env, "PORT": str(port), "HEARTBEAT_S": str(HEARTBEAT_S)}
    return replace(usual, name="idle-gateway", port=port, env=env)


def _bare_server(system: System) -> Command:
    url, port = system.stack.valkey.url, system.free_port()
    return replace(bare_relay.server(url=url, port=port, folder=system.home), name="idle-bare")


@asynccontextmanager
async def _following(tokens: list[str], port: int, users: range) -> AsyncIterator[list[IsOpen]]:
    """Hold streams of `GET /event`; one is open if it had a heartbeat and was not cut."""
    async with AsyncExitStack() as stack:
        held: list[IsOpen] = []
        for group in _groups(users):
            ready = stream_lanes(port, lanes=len(group), marker=b"event: stream.ready\n")
            lanes = await stack.enter_async_context(ready)
            for user, lane in zip(group, lanes, strict=True):
                lane.open(_FOLLOW % tokens[user].encode())
            await asyncio.gather(*(lane.begun(_WITHIN_S) for lane in lanes))
            held += [partial(lane.is_alive, b": hb\n\n") for lane in lanes]
        yield held


@asynccontextmanager
async def _subscribed(tokens: list[str], port: int, users: range) -> AsyncIterator[list[IsOpen]]:
    """Hold WebSockets that follow the feed."""
    async with AsyncExitStack() as stack:
        held: list[IsOpen] = []
        for group in _groups(users):
            lanes = await stack.enter_async_context(socket_lanes(port, lanes=len(group)))
            for user, lane in zip(group, lanes, strict=True):
                await lane.ask({"op": "auth", "token": tokens[user].removeprefix("Bearer ")})
                await lane.ask({"op": "subscribe"})
            held += [lane.is_alive for lane in lanes]
        yield held


@asynccontextmanager
async def _watching(port: int, users: range) -> AsyncIterator[list[IsOpen]]:
    """Hold viewers of the bare relay."""
    async with AsyncExitStack() as stack:
        held: list[IsOpen] = []
        for group in _groups(users):
            ready = stream_lanes(port, lanes=len(group), marker=bare_relay.READY)
            lanes = await stack.enter_async_context(ready)
            for user, lane in zip(group, lanes, strict=True):
                lane.open(get(f"/{bare_relay.channel(user)}").request)
            await asyncio.gather(*(lane.begun(_WITHIN_S) for lane in lanes))
            held += [partial(lane.is_alive, bare_relay.READY) for lane in lanes]
        yield held


def _groups(users: range) -> list[range]:
    """Return as many at a time as come at the same moment."""
    return [users[at : at + _AT_ONCE] for at in range(0, len(users), _AT_ONCE)]


def _counted(found: _Found, rounds: int) -> _Found:
    """Return what was found without the warm-up."""
    return _Found(found.kib[-rounds:], found.is_open[-rounds:], found.p95_ms[-rounds:])


def _figures(found: dict[str, _Found]) -> list[Figure]:
    figures = [
        Figure("memory of an SSE stream", found["SSE"].kib, "KiB", at_most=32),
        Figure("memory of a WebSocket", found["WebSocket"].kib, "KiB", at_most=40),
        Figure("memory of a bare SSE stream", found["bare SSE"].kib, "KiB"),
    ]
    for name in ("SSE", "WebSocket"):
        figures += [
            Figure(f"{name}: still open", found[name].is_open, "x", at_least=0.99),
            Figure(f"{name}: p95 of others", found[name].p95_ms, "ms", at_most=500),
        ]
    return figures

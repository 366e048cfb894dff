"""Forwarding `GET /user/me`: our gateway, and nginx, in front of the same raw ASGI app."""

import os
from collections.abc import Awaitable, Callable
from functools import partial

from bench import nginx
from bench.client import Client, Exchange, connected, get
from bench.cpu import pinned
from bench.measures import Figure, Outcome, Round, Sample, Tally, interleaved, measure, was_quiet
from bench.plan import Plan
from bench.system import PROFILE, System

PATH = "/user/me"
LANES = 32
PER_S = 200.0
"""Rate at which latency is measured: far from what any side can take."""


async def run(system: System, plan: Plan) -> Outcome:
    """Measure CPU per request in a closed loop, then added latency at a fixed rate."""
    await system.require("auth", "valkey", "gateway")
    sides = {"direct": "auth", "gateway": "gateway"}
    notes = ["50 users and tokens in turn; the tokens are in the gateway's cache after the warm-up"]
    if nginx.is_installed():
        port = system.free_port()
        folder = system.home / "nginx"
        await system.start(nginx.command(port=port, upstream=system.port("auth"), folder=folder))
        sides["nginx"] = "nginx"
    else:
        notes.append(f"no ratio to nginx: {nginx.INSTALL}")
    exchanges = [get(PATH, each, body=PROFILE.encode()) for each in system.people.authorizations]

    def closed(client: Client) -> Awaitable[Tally]:
        return client.closed_loop(seconds=plan.seconds, operations=plan.requests)

    def opened(client: Client) -> Awaitable[Tally]:
        return client.open_loop(per_s=PER_S, seconds=plan.open_seconds)

    side = partial(_side, system)
    proxies = [system.pid(of) for of in sides.values() if of != "auth"]
    with pinned(proxies, [os.getpid(), system.pid("auth"), system.pid("valkey")]):
        busy = await interleaved(
            {name: partial(side, of, exchanges, closed) for name, of in sides.items()}, plan.rounds
        )
        calm = await interleaved(
            {name: partial(side, of, exchanges, opened) for name, of in sides.items()}, plan.rounds
        )
    return Outcome(
        rounds=[_joined(*pair) for pair in zip(busy, calm, strict=True)],
        figures=_figures(busy, calm),
        counts={"answers compared": sum(s.operations for r in busy + calm for s in r.values())},
        notes=notes,
    )


async def _side(
    system: System,
    name: str,
    exchanges: list[Exchange],
    drive: Callable[[Client], Awaitable[Tally]],
) -> Sample:
    async def load() -> Tally:
        turn = (exchanges[user] for user in system.people.in_turn())
        async with connected(system.port(name), lanes=LANES, exchanges=turn) as client:
            return await drive(client)

    return await measure(load, system.pids(name))


def _joined(busy: Round, calm: Round) -> Round:
    return busy | {f"{name} at {PER_S:.0f}/s": sample for name, sample in calm.items()}


def _figures(busy: list[Round], calm: list[Round]) -> list[Figure]:
    figures = [
        Figure("gateway CPU per request", [_cpu(each, "gateway") for each in busy], "µs"),
        Figure("gateway requests", [each["gateway"].per_s for each in busy], "/s"),
        Figure("gateway memory", [each["gateway"].rss_mib["gateway"] for each in busy], "MiB"),
        Figure("gateway's added p50 at 200/s", _added(calm, "gateway", "p50_ms"), "ms"),
    ]
    if was_quiet(calm):
        added = _added(calm, "gateway", "p99_ms")
        figures.append(Figure("gateway's added p99 at 200/s", added, "ms", at_most=5))
    if "nginx" in busy[0]:
        ratio = [_cpu(each, "gateway") / _cpu(each, "nginx") for each in busy]
        share = [each["gateway"].per_s / each["nginx"].per_s for each in busy]
        figures += [
            Figure("gateway CPU / nginx CPU", ratio, "x", at_most=9),
            Figure("nginx CPU per request", [_cpu(each, "nginx") for each in busy], "µs"),
            Figure("gateway requests / nginx requests", share, "x"),
            Figure("nginx's added p50 at 200/s", _added(calm, "nginx", "p50_ms"), "ms"),
        ]
    return figures


def _cpu(each: Round, name: str) -> float:
    return each[name].cpu_us[name]


def _added(calm: list[Round], name: str, what: str) -> list[float]:
    return [getattr(each[name], what) - getattr(each["direct"], what) for each in calm]

"""A right code and a refresh, straight at auth, next to a bare transaction of as many writes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial

from bench.client import Exchange, Lane, connect, connected, post
from bench.measures import Figure, Outcome, Round, Sample, Tally, VoidError, interleaved, measure
from bench.plan import Plan
from bench.system import System
from deploy.local.stack import is_healthy
from libs.common.clock import new_id

PER_S = 50.0
LANES = 16
AUTH = "real-auth"
"""`auth` is the app that plays it: the other benchmarks make their tokens themselves."""

SIDES = ("verify-otp", "refresh", "bare")
_CREATE_BARE = """
CREATE TABLE IF NOT EXISTS bare_login (id uuid PRIMARY KEY, used_at timestamptz);
CREATE TABLE IF NOT EXISTS bare_session (id uuid PRIMARY KEY, made_at timestamptz NOT NULL)
"""
Body = dict[str, str]


async def run(system: System, plan: Plan) -> Outcome:
    """Measure latencies at a fixed rate; every code and token is used once."""
    await system.require("postgres", "rabbitmq", "valkey")
    if not system.runs(AUTH):
        (command,) = (each for each in system.stack.services() if each.name == "auth")
        port = system.free_port()
        env = {**command.env, "PORT": str(port)}
        await system.start(replace(command, name=AUTH, port=port, env=env), is_healthy)
    await system.tidy()
    sides = {
        "verify-otp": partial(_side, system, plan, "/auth/verify-otp", _codes),
        "refresh": partial(_side, system, plan, "/auth/refresh", _tokens),
        "bare": partial(_bare, system, plan),
    }
    rounds = await interleaved(sides, plan.rounds)
    p50s = {name: [each[name].p50_ms or 0 for each in rounds] for name in SIDES}
    figures = []
    for name, at_most in (("verify-otp", 12), ("refresh", 8)):
        ratio = [ours / bare for ours, bare in zip(p50s[name], p50s["bare"], strict=True)]
        figures += [
            Figure(f"{name} / bare transaction, p50", ratio, "x", at_most=at_most),
            Figure(f"{name}, p50", p50s[name], "ms"),
            Figure(f"{name}, p99", _p99s(rounds, name), "ms"),
        ]
    figures.append(Figure("bare transaction, p50", p50s["bare"], "ms"))
    return Outcome(
        rounds=rounds,
        figures=figures,
        counts={"logins and refreshes": sum(each[s].operations for each in rounds for s in SIDES)},
        notes=[f"{PER_S:.0f} a second, one process, fsync on"],
    )


def _p99s(rounds: list[Round], name: str) -> list[float]:
    return [each[name].p99_ms or 0 for each in rounds]


async def _side(
    system: System, plan: Plan, path: str, make: Callable[[Lane], Awaitable[Body]]
) -> Sample:
    count = int(PER_S * plan.open_seconds)
    lane = await connect(system.port(AUTH), lambda: None)
    bodies = [await make(lane) for _ in range(count)]
    lane.close()

    def requests() -> Iterator[Exchange]:
        yield from (_post(path, body) for body in bodies)

    async def load() -> Tally:
        async with connected(system.port(AUTH), lanes=LANES, exchanges=requests()) as client:
            return await client.open_loop(per_s=PER_S, seconds=plan.open_seconds)

    return await measure(load, system.pids(AUTH, "postgres", "valkey"))


async def _codes(lane: Lane) -> Body:
    """Sign somebody up, and return what logs them in."""
    who = {"email": f"{new_id()}@example.com"}
    await lane.ask(_post("/auth/signup", who, status=201))
    sent = json.loads(await lane.ask(_post("/auth/send-otp", who, status=202)))
    return {**who, "otp": sent["otp"]}


async def _tokens(lane: Lane) -> Body:
    """Log somebody in, and return what refreshes their token."""
    login = json.loads(await lane.ask(_post("/auth/verify-otp", await _codes(lane))))
    return {"refresh_token": login["refresh_token"]}


async def _bare(system: System, plan: Plan) -> Sample:
    """Insert and update in one transaction, at the same rate, over one connection."""
    count, latencies = int(PER_S * plan.open_seconds), list[float]()
    conn = await system.connect()
    await conn.execute(_CREATE_BARE)
    ids = [new_id() for _ in range(count)]
    await conn.executemany("INSERT INTO bare_login VALUES ($1)", [(each,) for each in ids])

    async def load() -> Tally:
        started = time.perf_counter()
        for number, each in enumerate(ids):
            await asyncio.sleep(max(0.0, started + number / PER_S - time.perf_counter()))
            began = time.perf_counter()
            async with conn.transaction():
                await conn.execute("INSERT INTO bare_session VALUES ($1, now())", each)
                await conn.execute("UPDATE bare_login SET used_at = now() WHERE id = $1", each)
            latencies.append(time.perf_counter() - began)
        return Tally(count, time.perf_counter() - started, latencies)

    sample = await measure(load, system.pids("postgres"))
    used = await conn.fetchval("SELECT count(*) FROM bare_login WHERE used_at IS NOT NULL")
    await conn.close()
    if used < count:
        raise VoidError(f"{used} rows were updated, not {count}")
    return sample


def _post(path: str, body: Body, *, status: int = 200) -> Exchange:
    return post(path, "", json.dumps(body).encode(), status=status)

"""What a request's access token costs: first seen, seen before, and bare PyJWT."""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import jwt

from bench.measures import Figure, Outcome, Sample, Tally, VoidError, interleaved, measure
from bench.people import USERS, numbered
from bench.plan import Plan
from bench.system import System
from libs.common.identity import ALGORITHM, AUDIENCE, ISSUER

SIDES = ("first seen", "seen before", "PyJWT")
CACHED_PER_UNCACHED = 50
"""A look into the cache is that much faster, so that both loops take about as long."""

Verify = Callable[[int], Awaitable[str]]


async def run(system: System, plan: Plan) -> Outcome:
    """Measure microseconds per token, in this process: there is no wire in it."""
    tokens = [
        authorization.removeprefix("Bearer ")
        for authorization in system.people.log_in(range(USERS))
    ]
    key = jwt.PyJWKSet.from_dict(system.people.issuer.jwks()).keys[0]
    verifier = system.people.issuer.verifier()
    once = plan.requests // 12

    async def first_seen(number: int) -> str:
        verifier._verified.clear()  # noqa: SLF001 - what makes every token a new one
        return str((await verifier.verify(tokens[number])).user_id)

    async def seen_before(number: int) -> str:
        return str((await verifier.verify(tokens[number])).user_id)

    async def bare(number: int) -> str:
        options = {"algorithms": [ALGORITHM], "audience": AUDIENCE, "issuer": ISSUER}
        return str(jwt.decode(tokens[number], key, **options)["sub"])  # type: ignore[arg-type]

    sides = {
        "first seen": partial(_side, first_seen, once),
        "seen before": partial(_side, seen_before, once * CACHED_PER_UNCACHED),
        "PyJWT": partial(_side, bare, once),
    }
    rounds = await interleaved(sides, plan.rounds)
    micros = {name: [1e6 / each[name].per_s for each in rounds] for name in SIDES}
    ratio = [
        ours / theirs for ours, theirs in zip(micros["first seen"], micros["PyJWT"], strict=True)
    ]
    return Outcome(
        rounds=rounds,
        figures=[
            Figure("first seen / PyJWT", ratio, "x", at_most=1.5),
            Figure("token seen before", micros["seen before"], "µs", at_most=5),
            Figure("token first seen", micros["first seen"], "µs"),
            Figure("PyJWT", micros["PyJWT"], "µs"),
        ],
        counts={"tokens verified": sum(s.operations for each in rounds for s in each.values())},
        notes=[f"{USERS} tokens in turn, EdDSA, one process"],
    )


async def _side(verify: Verify, operations: int) -> Sample:
    async def load() -> Tally:
        started = time.perf_counter()
        for number in range(operations):
            await verify(number % USERS)
        return Tally(operations, time.perf_counter() - started)

    for user in range(USERS):
        if await verify(user) != str(numbered(user)):
            raise VoidError("a token is somebody else's")
    return await measure(load, {})

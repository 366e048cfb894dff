"""B6: Stripe's webhooks, 20 at the same time, acknowledged before anything is done about them."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import stripe

from bench.client import Exchange, connected, post
from bench.measures import Figure, Outcome, Sample, Tally, VoidError, interleaved, measure
from bench.plan import Plan
from bench.system import System

if TYPE_CHECKING:
    import asyncpg

LANES = 20
_STORED = "SELECT count(*) FROM billing.stripe_event WHERE id LIKE $1"
_WAITING = "SELECT count(*) FROM billing.stripe_event WHERE applied_at IS NULL"
_WITHIN_S = 30.0


async def run(system: System, plan: Plan) -> Outcome:
    """Measure answers through the gateway; every event is another one, and is stored once."""
    await system.require("auth", "postgres", "rabbitmq", "valkey", "stripe", "billing", "gateway")
    await system.tidy()
    numbers = itertools.count()
    rounds = await interleaved({"webhooks": partial(_side, system, plan, numbers)}, plan.rounds)
    samples = [each["webhooks"] for each in rounds]
    return Outcome(
        rounds=rounds,
        figures=[
            Figure("answered, p50", [each.p50_ms or 0 for each in samples], "ms", at_most=100),
            Figure("answered, p99", [each.p99_ms or 0 for each in samples], "ms", at_most=2000),
            Figure("answered", [each.per_s for each in samples], "/s"),
        ],
        counts={"events stored once": sum(each.operations for each in samples)},
        notes=[f"{LANES} connections, each with one webhook on its way; 3 kB; through the gateway"],
    )


async def _side(system: System, plan: Plan, numbers: "itertools.count[int]") -> Sample:
    name = f"evt_bench{next(numbers)}x"
    events = _events(name, system.webhook_secret)

    async def load() -> Tally:
        async with connected(system.port("gateway"), lanes=LANES, exchanges=events) as client:
            return await client.closed_loop(seconds=plan.seconds, operations=plan.requests)

    sample = await measure(load, system.pids("gateway", "billing", "postgres"))
    conn = await system.connect()
    stored = await conn.fetchval(_STORED, f"{name}%")
    if stored != sample.operations:
        raise VoidError(f"{stored} events are stored of {sample.operations} that were taken")
    await _settled(conn)
    await conn.close()
    return sample


async def _settled(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until nothing is left to be applied, so that the next round begins like this one."""
    deadline = time.monotonic() + _WITHIN_S
    while await conn.fetchval(_WAITING):
        if time.monotonic() > deadline:
            raise VoidError("events that were taken are not applied")
        await asyncio.sleep(0.05)


def _events(name: str, secret: str) -> Iterator[Exchange]:
    """Yield webhooks about a customer who is nobody's, signed as Stripe does."""
    for number in itertools.count():
        about = {"object": "subscription", "customer": "cus_nobody", "metadata": {"x": "x" * 2800}}
        document = {"id": f"{name}{number}", "type": "invoice.paid", "data": {"object": about}}
        payload = json.dumps(document)
        stamp = int(time.time())
        signed = stripe.WebhookSignature.generate_signature_header(payload, secret, stamp)
        head, _, body = post("/webhook/stripe", "", payload.encode(), status=200).request.partition(
            b"\r\n\r\n"
        )
        request = head + f"\r\nStripe-Signature: {signed}\r\n\r\n".encode() + body
        yield Exchange(request, 200)

"""From the post to a consumer of its event: by outbox and relay, and by a bare publish."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial

import aio_pika
from aio_pika.abc import AbstractExchange

from bench.client import Exchange, connected, post
from bench.measures import (
    Figure,
    Outcome,
    Sample,
    Tally,
    VoidError,
    interleaved,
    measure,
    was_quiet,
)
from bench.people import numbered, owner
from bench.plan import Plan
from bench.rabbit import listening, purge
from bench.system import System
from libs.common.events import PriorityMessagePosted

PER_S = 60.0
LANES = 32
BARE_KEY = "bench.published.v1"
QUEUE = f"ai.{PriorityMessagePosted.TYPE}"
_ON_PATH = ("chat", "postgres", "rabbitmq", "valkey")
ARRIVES_WITHIN_S = 10.0


class Stopwatch:
    """Times messages from their sending to their arrival, by a mark in their content."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._arrived: dict[str, list[float]] = {}

    def sent(self, mark: str) -> None:
        """Start to time a message."""
        self._sent[mark] = time.perf_counter()

    def on_body(self, body: bytes) -> None:
        """Stop to time the message whose event this is."""
        mark = json.loads(body)["content"]
        self._arrived.setdefault(mark, []).append(time.perf_counter())

    async def finish(self) -> list[float]:
        """Return the seconds that each message took, once all have arrived.

        Raises:
            VoidError: one is lost, or came twice.
        """
        deadline = time.monotonic() + ARRIVES_WITHIN_S
        while len(self._arrived) < len(self._sent):
            if time.monotonic() > deadline:
                raise VoidError(f"{len(self._sent) - len(self._arrived)} events did not arrive")
            await asyncio.sleep(0.01)
        doubled = sum(len(times) - 1 for times in self._arrived.values())
        if doubled or self._arrived.keys() != self._sent.keys():
            raise VoidError(f"{doubled} events arrived twice")
        taken = [self._arrived[mark][0] - at for mark, at in self._sent.items()]
        self._sent.clear()
        self._arrived.clear()
        return taken


async def run(system: System, plan: Plan) -> Outcome:
    """Measure the time on both ways, at a fixed rate."""
    await system.require("auth", "postgres", "rabbitmq", "valkey", "chat")
    await system.tidy()
    url, watch = system.stack.rabbitmq.url, Stopwatch()
    queue = partial(listening, url, on_body=watch.on_body)
    async with (
        queue(name="bench.posted", routing_key=PriorityMessagePosted.TYPE),
        queue(name="bench.published", routing_key=BARE_KEY) as exchange,
    ):
        sides = {
            "post": partial(_posting, system, plan, watch),
            "bare publish": partial(_publishing, system, plan, watch, exchange),
        }
        rounds = await interleaved(sides, plan.rounds)
    await purge(url, QUEUE)
    posted, bare = [each["post"] for each in rounds], [each["bare publish"] for each in rounds]
    p50s = [each.p50_ms or 0 for each in posted]
    figures = [
        Figure("POST to consumer, p50", p50s, "ms", at_most=10),
        Figure("bare publish to consumer, p50", [each.p50_ms or 0 for each in bare], "ms"),
        Figure(
            "POST / bare publish, p50",
            [mine / (other.p50_ms or 1) for mine, other in zip(p50s, bare, strict=True)],
            "x",
        ),
    ]
    if was_quiet(rounds):
        figures.append(Figure("POST to consumer, p99", [e.p99_ms or 0 for e in posted], "ms"))
    events = sum(each.operations for each in [*posted, *bare])
    return Outcome(
        rounds=rounds,
        figures=figures,
        counts={"events arrived": events, "lost": 0, "doubled": 0},
        notes=[f"{PER_S:.0f} a second, from the sending of the POST to the event in our queue"],
    )


async def _posting(system: System, plan: Plan, watch: Stopwatch) -> Sample:
    admin = await system.connect()
    rooms = await system.people.move_in(admin, int(PER_S * plan.open_seconds))
    await admin.close()

    def requests() -> Iterator[Exchange]:
        for room in rooms:
            path, mark = f"/chatroom/{numbered(room)}/message", f"post {room}"
            body = json.dumps({"content": mark}).encode()
            watch.sent(mark)
            yield post(path, system.people.authorizations[owner(room)], body, status=202)

    async def load() -> Tally:
        async with connected(system.port("chat"), lanes=LANES, exchanges=requests()) as client:
            tally = await client.open_loop(per_s=PER_S, seconds=plan.open_seconds)
        return Tally(tally.operations, tally.seconds, await watch.finish())

    return await measure(load, system.pids(*_ON_PATH))


async def _publishing(
    system: System, plan: Plan, watch: Stopwatch, exchange: AbstractExchange
) -> Sample:
    count = int(PER_S * plan.open_seconds)

    async def publish(number: int) -> None:
        await asyncio.sleep(number / PER_S)
        mark = f"publish {number}"
        message = aio_pika.Message(
            json.dumps({"content": mark, "filling": "x" * 300}).encode(),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        watch.sent(mark)
        await exchange.publish(message, BARE_KEY)

    async def load() -> Tally:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(publish(number))
        return Tally(count, time.perf_counter() - started, await watch.finish())

    return await measure(load, system.pids("rabbitmq"))

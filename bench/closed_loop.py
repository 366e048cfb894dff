"""Messages and their replies: gateway, chat, broker, ai, the Gemini emulator, and back into chat.

Once as conversations of users who wait for each reply before they write again, with a model that
answers at once; and once all at the same time, with a model that takes its time.
"""

import os
from functools import partial

from bench.answering import SERVERS, SERVICES, Conversation, converse, ensure_answered_once
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
    without_children,
)
from bench.plan import Plan
from bench.rabbit import dead_letters
from bench.system import System

USERS = 20
"""Users at the same time, each with one message on its way."""

MODEL_MS = 2800.0
"""What the slow model takes for a reply."""

WITHIN_MS = 4000.0


async def run(system: System, plan: Plan) -> Outcome:
    """Measure answered messages a second and their CPU, and how long many at once take."""
    await system.require("auth", *SERVERS, "gemini", "chat", "ai", "gateway")
    await system.tidy()
    calls: list[float] = []
    rounds = await interleaved(
        {
            "loop": partial(_loop, system, plan, calls),
            "at once": partial(_at_once, system, plan, calls),
        },
        plan.rounds,
    )
    if dead := await dead_letters(system.stack.rabbitmq.url):
        raise VoidError(f"{dead} deliveries ended as dead letters")
    samples = [sample for each in rounds for sample in each.values()]
    return Outcome(
        rounds=rounds,
        figures=[*_figures(rounds, plan), Figure("calls to the model for a reply, at most", calls)],
        counts={
            "replies compared": sum(each.operations for each in samples),
            "lost": 0,
            "doubled": 0,
        },
        notes=_notes(plan),
    )


async def _loop(system: System, plan: Plan, calls: list[float]) -> Sample:
    return await _side(system, calls, rooms=USERS, turns=plan.replies // USERS, titled=False)


async def _at_once(system: System, plan: Plan, calls: list[float]) -> Sample:
    async with system.model_paced(first_token_ms=MODEL_MS, chunk_ms=0):
        # With a title already: else the model would be asked for one, which is not what we time.
        return await _side(system, calls, rooms=plan.at_once, turns=1, titled=True)


async def _side(
    system: System, calls: list[float], *, rooms: int, turns: int, titled: bool
) -> Sample:
    admin = await system.connect()
    numbers = await system.people.move_in(admin, rooms, titled=titled)
    talks = [Conversation(room, turns) for room in numbers]
    pids = system.pids(*SERVICES, *SERVERS, "gemini") | {"client": os.getpid()}

    async def load() -> Tally:
        return await converse(system, talks)

    sample = await measure(load, pids)
    calls.append(await ensure_answered_once(admin, numbers, turns=turns))
    await admin.close()
    return without_children(sample)


def _notes(plan: Plan) -> list[str]:
    rooms = "a room is new in each round: the model gives it a title after its first reply"
    many = f"{plan.at_once} at once: from the first post to the last stored reply"
    return [
        f"{USERS} users, a room and {plan.replies // USERS} turns each; {rooms}",
        "a reply is one sum; the emulator sends it at once, in about three pieces",
        f"{many}, each in a room of its own, with a model that takes {MODEL_MS / 1000:g} s",
    ]


def _figures(rounds: list[Round], plan: Plan) -> list[Figure]:
    samples = [each["loop"] for each in rounds]
    cores = len(os.sched_getaffinity(0))
    cpu = [sum(each.cpu_us.values()) for each in samples]
    used = [each.per_s * us / 1e6 for each, us in zip(samples, cpu, strict=True)]
    share = [each / cores for each in used]
    of_rest = [u / (cores - each.foreign_cores) for u, each in zip(used, samples, strict=True)]
    quiet = was_quiet(rounds)
    services = [sum(each.cpu_us[name] for name in SERVICES) for each in samples]
    # All began together, so the last one to end took the longest.
    last = [1000 * plan.at_once / each["at once"].per_s for each in rounds]
    return [
        Figure("messages answered", [each.per_s for each in samples], "/s", at_least=150),
        Figure("CPU per message", cpu, "µs", at_most=8000),
        Figure("of it our services", services, "µs"),
        *(
            Figure(f"of it {name}", [each.cpu_us[name] for each in samples], "µs")
            for name in samples[0].cpu_us
        ),
        # On a machine with other work the ceiling is what that work leaves.
        Figure("messages / (cores / CPU per message)", share, "x", at_least=0.6 if quiet else None),
        Figure("the same of the cores that others left", of_rest, "x", at_least=0.6),
        Figure("POST to stored reply, p50", [each.p50_ms or 0 for each in samples], "ms"),
        Figure(f"the last of {plan.at_once} at once", last, "ms", at_most=WITHIN_MS),
        Figure("CPU of others", [each.foreign_cores for each in samples], "cores"),
    ]

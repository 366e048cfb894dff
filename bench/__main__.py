"""`python -m bench`: run the benchmarks, write the results, exit with 1 if any is void."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench import (
    big_rooms,
    closed_loop,
    gateway_forwarding,
    idle_connections,
    listing,
    load,
    logging_in,
    machine,
    post_to_consumer,
    posting,
    report,
    streaming,
    verifying,
    webhooks,
)
from bench.measures import Outcome, VoidError
from bench.plan import Plan
from bench.system import System, running
from deploy.local.server import ServerError
from deploy.local.terminal import say

BENCHMARKS: dict[str, Callable[[System, Plan], Awaitable[Outcome]]] = {
    "gateway_forwarding": gateway_forwarding.run,
    "verifying": verifying.run,
    "logging_in": logging_in.run,
    "webhooks": webhooks.run,
    "listing": listing.run,
    "posting": posting.run,
    "post_to_consumer": post_to_consumer.run,
    "closed_loop": closed_loop.run,
    "streaming": streaming.run,
    "idle_connections": idle_connections.run,
    "load": load.run,
    # The last one: it ends ai and leaves a large table.
    "big_rooms": big_rooms.run,
}
MAX_ROUNDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and return the exit code: 1 if a benchmark is void.

    With `--strict` a target that is missed is a failure too.
    """
    options = _options(arguments)
    # In this order, so that no benchmark runs beside a service that it does not need.
    names = [name for name in BENCHMARKS if name in (options.only or BENCHMARKS)]
    plan = (Plan.quick() if options.quick else Plan()).with_rounds(options.rounds)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(_run(names, plan, options.port))
    except ServerError as problem:
        say(str(problem), mood="bad")
        return 1
    outcomes = results["benchmarks"].values()
    void = any("void" in outcome for outcome in outcomes)
    missed = any(f["met"] is False for each in outcomes for f in each.get("figures", []))
    _keep(results, options, whole=set(names) == set(BENCHMARKS) and not options.quick and not void)
    return 1 if void or (missed and options.strict) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS)
    )
    parser.add_argument(
        "--rounds", type=int, choices=range(1, MAX_ROUNDS + 1), metavar="N", help="1 to 20"
    )
    parser.add_argument("--quick", action="store_true", help="show that it works; measures little")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--port", type=int, default=23000, help="first of a block of free ports")
    parser.add_argument(
        "--output", type=Path, help="where the JSON goes; a whole run also goes into the README"
    )
    return parser.parse_args(arguments)


async def _run(names: Sequence[str], plan: Plan, port: int) -> dict[str, Any]:
    about: dict[str, Any] = machine.describe() | {"load_at_start": round(os.getloadavg()[0], 2)}
    outcomes: dict[str, Any] = {}
    async with running(port) as system:
        for name in names:
            outcomes[name] = await _outcome(name, system, plan)
        about["versions"] = await machine.versions(system)
    about["load_at_end"] = round(os.getloadavg()[0], 2)
    return {"machine": about, "rounds": plan.rounds, "benchmarks": outcomes}


async def _outcome(name: str, system: System, plan: Plan) -> dict[str, Any]:
    say(f"  {name}")
    started = time.monotonic()
    try:
        outcome = (await BENCHMARKS[name](system, plan)).as_json()
    except VoidError as void:
        outcome = {"void": str(void)}
    outcome["seconds"] = round(time.monotonic() - started, 1)
    report.tell(name, outcome)
    return outcome


def _keep(results: dict[str, Any], options: argparse.Namespace, *, whole: bool) -> None:
    if options.output is not None:
        report.write_json(options.output, results)
    elif whole:
        report.write_json(report.LATEST, results)
        report.rewrite_table(report.README, results)
        say("written to bench/results/latest.json and bench/README.md")
    else:
        say("not kept: only a whole run without a void is; --output FILE keeps any")


if __name__ == "__main__":
    sys.exit(main())

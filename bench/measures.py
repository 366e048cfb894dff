"""What a round gives, and what becomes of several rounds."""

import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, TypeAlias

from bench.cpu import cpu_s, machine_busy_s, rss_mib
from deploy.local.terminal import say

QUIET_CORES = 0.1
"""CPU that others may use, in cores, for a p99 to say something about us."""


class VoidError(Exception):
    """An answer is wrong, lost or doubled: the benchmark says nothing."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a load did: how many operations in which time, and how long each took."""

    operations: int
    seconds: float
    latencies_s: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One side of a benchmark in one round.

    Attributes:
        per_s: operations a second.
        cpu_us: microseconds of CPU per operation, by process.
        rss_mib: resident memory at the end, by process.
        foreign_cores: CPU that none of our processes used, in cores.
    """

    operations: int
    per_s: float
    cpu_us: Mapping[str, float]
    rss_mib: Mapping[str, float]
    foreign_cores: float
    p50_ms: float | None
    p99_ms: float | None


Side: TypeAlias = Callable[[], Awaitable[Sample]]
Round: TypeAlias = dict[str, Sample]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a benchmark, once per round.

    Attributes:
        at_most: target; None where there is none.
        at_least: target; None where there is none.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        if self.at_most is not None:
            return median(self.values) <= self.at_most
        return median(self.values) >= self.at_least if self.at_least is not None else None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": _short(median(self.values)),
            "min": _short(min(self.values)),
            "max": _short(max(self.values)),
            "at_most": self.at_most,
            "at_least": self.at_least,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark found.

    Attributes:
        notes: what the reader has to know: what was left out, and why.
        counts: proof that nothing was wrong, lost or doubled.
    """

    rounds: Sequence[Round]
    figures: Sequence[Figure]
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "figures": [figure.as_json() for figure in self.figures],
            "counts": dict(self.counts),
            "notes": list(self.notes),
            "rounds": [
                {side: _rounded(asdict(sample)) for side, sample in each.items()}
                for each in self.rounds
            ],
        }


async def measure(load: Callable[[], Awaitable[Tally]], pids: Mapping[str, int]) -> Sample:
    """Run a load and return what it cost the processes."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    ours, machine, started = cpu_s(os.getpid()), machine_busy_s(), time.monotonic()
    tally = await load()
    elapsed = time.monotonic() - started
    foreign = (machine_busy_s() - machine) - (cpu_s(os.getpid()) - ours)
    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    return Sample(
        operations=tally.operations,
        per_s=tally.operations / tally.seconds,
        cpu_us={name: 1e6 * seconds / tally.operations for name, seconds in spent.items()},
        rss_mib={name: rss_mib(pid) for name, pid in pids.items()},
        foreign_cores=max(0.0, foreign / elapsed),
        p50_ms=percentile_ms(tally.latencies_s, 0.5),
        p99_ms=percentile_ms(tally.latencies_s, 0.99),
    )


def without_children(sample: Sample) -> Sample:
    """Take from the client's cost that of the processes that it started: all the others."""
    others = sum(cost for name, cost in sample.cpu_us.items() if name != "client")
    own = max(0.0, sample.cpu_us["client"] - others)
    return replace(sample, cpu_us={**sample.cpu_us, "client": own})


async def interleaved(sides: Mapping[str, Side], rounds: int) -> list[Round]:
    """Run every side in every round, the other way around in every second one.

    A round before them warms everything up and does not count.
    """
    found: list[Round] = []
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        samples = {name: await sides[name]() for name in order}
        told = ", ".join(f"{name} {samples[name].per_s:,.0f}/s" for name in sides)
        say(f"    {f'round {number}' if number else 'warm-up'}: {told}", mood="quiet")
        if number:
            found.append({name: samples[name] for name in sides})
    return found


def was_quiet(rounds: Sequence[Round]) -> bool:
    """Return whether the machine had nothing else to do, so that a p99 is ours."""
    return median(s.foreign_cores for each in rounds for s in each.values()) <= QUIET_CORES


def percentile_ms(latencies_s: Sequence[float], share: float) -> float | None:
    """Return the latency that `share` of the operations did not exceed, in milliseconds."""
    if not latencies_s:
        return None
    return 1000 * sorted(latencies_s)[math.ceil(share * len(latencies_s)) - 1]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return _short(value) if isinstance(value, float) else value


def _short(value: float) -> float:
    return float(f"{value:.4g}")

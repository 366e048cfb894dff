import json
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import post_to_consumer, report
from bench.client import connected, get
from bench.measures import Figure, Outcome, VoidError
from bench.plan import Plan
from bench.post_to_consumer import Stopwatch
from bench.system import PROFILE, System

pytestmark = pytest.mark.integration
QUICK = ["--quick", "--port", "23700"]
SAMPLE_KEYS = {"operations", "per_s", "cpu_us", "rss_mib", "foreign_cores", "p50_ms", "p99_ms"}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a run that is kept writes its JSON, instead of beside the README."""
    monkeypatch.setattr(report, "LATEST", tmp_path / "latest.json")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return tmp_path / "latest.json"


def test_a_quick_run_writes_every_round_and_judges_every_target(tmp_path: Path, kept: Path) -> None:
    output = tmp_path / "results.json"

    code = bench.main([*QUICK, "--only", "gateway_forwarding", "--output", str(output)])

    results = json.loads(output.read_text())
    found = results["benchmarks"]["gateway_forwarding"]
    assert code == 0
    assert {"cpu", "cores", "kernel", "load_at_start", "load_at_end"} <= results["machine"].keys()
    assert len(found["rounds"]) == 1
    assert found["rounds"][0]["gateway"].keys() == SAMPLE_KEYS
    assert found["rounds"][0]["gateway"]["cpu_us"]["gateway"] > 0
    assert found["counts"]["answers compared"] > 0
    for figure in found["figures"]:
        has_target = [figure["at_most"], figure["at_least"]] != [None, None]
        assert has_target == (figure["met"] is not None), figure
    assert not kept.exists()  # it is no whole run


def lying(expected: bytes) -> Callable[[System, Plan], Any]:
    """Return a benchmark whose app answers `PROFILE` where `expected` should come."""

    async def run(system: System, plan: Plan) -> Outcome:
        await system.require("auth")
        exchanges = repeat(get("/user/me", body=expected))
        async with connected(system.port("auth"), lanes=4, exchanges=exchanges) as client:
            tally = await client.closed_loop(seconds=plan.seconds, operations=100)
        return Outcome(rounds=[], figures=[], counts={"answers": tally.operations})

    return run


@pytest.mark.parametrize(("expected", "code"), [(PROFILE, 0), (PROFILE.replace("x", "y", 1), 1)])
def test_one_wrong_body_voids_the_benchmark(
    expected: str, code: int, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    monkeypatch.setattr(bench, "BENCHMARKS", {"lying": lying(expected.encode())})

    assert bench.main([*QUICK, "--only", "lying"]) == code
    assert not kept.exists()


async def test_an_event_that_comes_twice_voids_the_benchmark() -> None:
    watch = Stopwatch()
    watch.sent("a")
    watch.on_body(b'{"content":"a"}')
    watch.on_body(b'{"content":"a"}')

    with pytest.raises(VoidError, match="1 events arrived twice"):
        await watch.finish()


async def test_an_event_that_does_not_come_voids_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post_to_consumer, "ARRIVES_WITHIN_S", 0.05)
    watch = Stopwatch()
    watch.sent("a")

    with pytest.raises(VoidError, match="1 events did not arrive"):
        await watch.finish()


def test_the_table_is_replaced_and_the_rest_of_the_readme_stays(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{report.BEGIN}\n\nold\n\n{report.END}\n\nafter\n")
    figure = Figure("CPU", [1.0, 3.0, 2.0], "x", at_most=2.5).as_json()
    outcome = {"figures": [figure], "counts": {"lost": 0}, "notes": ["quiet"]}
    machine = dict.fromkeys(("date", "commit", "cores", "cpu", "kernel", "python"), "m")
    about = machine | {"load_at_start": 1, "load_at_end": 2, "versions": {"postgres": "18"}}
    results = {"machine": about, "rounds": 3, "benchmarks": {"b": outcome}}

    for _ in range(2):
        report.rewrite_table(readme, results)

    text = readme.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| `b` | CPU | 2.00x (1.00 to 3.00) | <= 2.5: met |") == 1

"""The results, for programs as JSON and for people as a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.terminal import say

FOLDER = Path(__file__).parent
LATEST = FOLDER / "results/latest.json"
README = FOLDER / "README.md"
BEGIN = "<!-- results: written by `make bench` -->"
END = "<!-- end of results -->"


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def rewrite_table(readme: Path, results: Mapping[str, Any]) -> None:
    """Put the results between the two marks of the README.

    Raises:
        ValueError: it has no such marks.
    """
    before, mark, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end_mark, after = rest.partition(END)
    if not mark or not end_mark:
        raise ValueError(f"{readme.name} has lost the lines {BEGIN!r} and {END!r}; put them back")
    parts = [before + BEGIN, _about(results), _table(results), _notes(results), END + after]
    readme.write_text("\n\n".join(parts), encoding="utf-8")


def tell(name: str, outcome: Mapping[str, Any]) -> None:
    """Print what a benchmark found; what misses its target in red."""
    if "void" in outcome:
        say(f"  {name} is void: {outcome['void']}", mood="bad")
        return
    for figure in outcome["figures"]:
        mood = {True: "good", False: "bad", None: ""}[figure["met"]]
        say(f"    {figure['name']:<38} {_value(figure):<28} {_target(figure)}", mood=mood)
    for note in outcome["notes"]:
        say(f"    ({note})", mood="quiet")


def _about(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    servers = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, commit {machine['commit']}. {machine['cores']} cores, "
        f"{machine['cpu']}, kernel {machine['kernel']}, Python {machine['python']}, {servers}. "
        f"Load average {machine['load_at_start']} at the start, {machine['load_at_end']} at the "
        f"end. {results['rounds']} rounds: median (lowest to highest)."
    )


def _table(results: Mapping[str, Any]) -> str:
    lines = ["| benchmark | figure | result | target |", "|---|---|---|---|"]
    for name, outcome in results["benchmarks"].items():
        if "void" in outcome:
            lines.append(f"| `{name}` | **void** | {outcome['void']} | |")
            continue
        for figure in outcome["figures"]:
            value = f"{_value(figure)} | {_target(figure)}"
            lines.append(f"| `{name}` | {figure['name']} | {value} |")
        counts = ", ".join(f"{what}: {count:,}" for what, count in outcome["counts"].items())
        lines.append(f"| `{name}` | checked | {counts} | |")
    return "\n".join(lines)


def _notes(results: Mapping[str, Any]) -> str:
    return "\n".join(
        f"- `{name}`: {note}."
        for name, outcome in results["benchmarks"].items()
        for note in outcome.get("notes", [])
    )


def _value(figure: Mapping[str, Any]) -> str:
    unit = figure["unit"] if figure["unit"] in {"x", "/s"} else f" {figure['unit']}".rstrip()
    spread = f"{_number(figure['min'])} to {_number(figure['max'])}"
    return f"{_number(figure['median'])}{unit} ({spread})"


def _target(figure: Mapping[str, Any]) -> str:
    if figure["met"] is None:
        return ""
    bound, sign = figure["at_most"], "<="
    if bound is None:
        bound, sign = figure["at_least"], ">="
    return f"{sign} {bound:g}: {'met' if figure['met'] else 'missed'}"


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"

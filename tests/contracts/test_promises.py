"""Every promise has a test or a bench that names its number in a docstring, e.g. `E2: ...`."""

import ast
import re
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT

PROMISES = (
    *("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9"),
    *("E1", "E2", "E3", "E4", "E5", "E6", "E7"),
    *("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9"),
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10"),
    *("R1", "R2", "R3", "R4", "R5", "R6", "R7"),
    "C6",
    *("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "G11", "G12"),
    *("J1", "J2", "J3", "J4", "J5", "J6", "J7", "J8", "J9", "J10"),
    *("L1", "L2", "L3", "L4", "L5", "L6"),
    *("U1", "U2", "U3", "U4"),
    "C5",
    *("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8"),
    *("V1", "V2", "V3", "V4"),
    *("D1", "D2", "D3", "D4"),
    *("P1", "P2", "P3", "P4"),
    *("Z1", "Z2", "Z3", "Z4", "Z5"),
    "M1",
    *("W1", "W2", "W3"),
    "O1",
    "O2",
)
NUMBER = re.compile(r"\b[A-Z]\d\d?\b")
# This file names them all, so it does not count.
TESTS = sorted({*ROOT.glob("[blst]*/**/test_*.py"), *ROOT.glob("deploy/**/test_*.py")})
BENCHES = sorted(ROOT.glob("bench/*.py"))


def numbers_in(path: Path) -> set[str]:
    """Return the numbers that docstrings name, of the module or of a test in it.

    Of a test module only tests count: what stands over a helper shows nothing.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named: list[ast.Module | ast.FunctionDef | ast.AsyncFunctionDef] = [tree]
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if path in BENCHES or node.name.startswith("test_"):
            named.append(node)
    return {number for node in named for number in NUMBER.findall(ast.get_docstring(node) or "")}


NAMED = set().union(*(numbers_in(path) for path in (*TESTS, *BENCHES) if path != Path(__file__)))


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_named_by_what_shows_it(promise: str) -> None:
    assert promise in NAMED

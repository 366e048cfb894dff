"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from libs.common.topology import CONSUMERS
from tests.contracts.tree import ROOT, SERVICES

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = [*ROOT.glob("conftest.py"), *ROOT.glob("[bdlst]*/**/*.py")]
ARCHITECTURE = ROOT / "docs/architecture.md"
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
FILE = re.compile(r"`((?:bench|deploy|docs|libs|services|tests)/[\w./-]+\.\w+)[`:]")
ONE_TEST = re.compile(r"`([\w/.-]+\.py)::(test_\w+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
NAMES = {
    name
    for path in CODE
    for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
} | {path.stem for path in CODE}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    folder = path.parent
    missing = [name for name in TEST.findall(text) if name not in NAMES]
    missing += [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    missing += [name for name in LINK.findall(text) if not (folder / name).exists()]
    missing += [
        f"{file}::{name}"
        for file, name in ONE_TEST.findall(text)
        if not re.search(rf"^(async )?def {name}\(", _read(ROOT / file), re.MULTILINE)
    ]
    assert missing == []


def test_the_architecture_names_who_announces_and_hears_each_event() -> None:
    rows = re.findall(r"^\| (\w+) \| .* \| (.*) \| (.*) \|$", _read(ARCHITECTURE), re.MULTILINE)
    table = {name: (_names(announced), _names(heard)) for name, announced, heard in rows}

    for service in SERVICES:
        announced, heard = table[service]
        assert announced == {e.__name__ for e in CONSUMERS if e.TYPE.startswith(f"{service}.")}
        assert heard == {event.__name__ for event, by in CONSUMERS.items() if service in by}


def _names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""

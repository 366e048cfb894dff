"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = [*ROOT.glob("conftest.py"), *ROOT.glob("[bdlst]*/**/*.py")]
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


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""

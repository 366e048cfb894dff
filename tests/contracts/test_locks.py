"""What is installed is what was locked, everywhere."""

import re
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT, SERVICES

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_is_pinned_by_version_and_hash_and_no_host_is_named(path: Path) -> None:
    """W1: a lock with hashes."""
    text = path.read_text(encoding="utf-8")
    packages = text.replace("\\\n", "").strip().splitlines()
    assert packages
    for package in packages:
        assert re.match(r"[\w.-]+==[\w.]+ (; .+? )?( *--hash=sha256:[0-9a-f]{64})+$", package)
    assert "://" not in text


def test_an_image_holds_locked_packages_alone() -> None:
    """W1: nothing is installed that is not checked against the lock."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    installs = [line for line in text.splitlines() if re.search(r"\bpip install\b", line)]
    assert len(installs) == 2
    assert all("--require-hashes" in line for line in installs)


def test_there_is_a_lock_for_every_service() -> None:
    assert {path.stem for path in LOCKS} >= set(SERVICES)

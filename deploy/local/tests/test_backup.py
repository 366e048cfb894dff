"""What `make backup` and `make restore` refuse; tests/e2e/test_backup.py has the rest."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy.local.config import ROOT


def run(base: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "backup", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "THOUGHTFLOW_HOME": str(base / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def file(base: Path) -> Path:
    """What looks like a backup from afar."""
    for name in ("secrets.json", "database.dump"):
        (base / name).write_text("{}")
    with tarfile.open(base / "file.tar", "w") as archive:
        for name in ("secrets.json", "database.dump"):
            archive.add(base / name, name)
    return base / "file.tar"


def test_nothing_that_runs_is_nothing_to_back_up(base: Path) -> None:
    code, said = run(base, "create")

    assert (code, said) == (1, f"Nothing runs in {base}/home. Start it: make run\n")


def test_data_is_never_overwritten(base: Path, file: Path) -> None:
    (base / "home").mkdir()
    (base / "home/secrets.json").write_text("mine")

    code, said = run(base, "restore", str(file))

    assert (code, "There is data in" in said) == (1, True), said
    assert (base / "home/secrets.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "There is no"),
        (lambda path: path.write_bytes(b"x" * 2000), "is no backup"),
        (lambda path: path.write_bytes(path.read_bytes()[:600]), "is no"),
        (lambda path: tarfile.open(path, "w").close(), "is no whole backup"),
    ],
)
def test_what_is_no_whole_backup_changes_nothing(
    base: Path, file: Path, damage: object, words: str
) -> None:
    assert callable(damage)
    damage(file)

    code, said = run(base, "restore", str(file))

    assert (code, words in said) == (1, True), said
    assert not (base / "home").exists()


@pytest.mark.integration
def test_a_dump_that_postgresql_does_not_take_leaves_an_empty_home(base: Path, file: Path) -> None:
    code, said = run(base, "restore", str(file))

    assert (code, "pg_restore failed" in said) == (1, True), said
    assert [path.name for path in (base / "home").iterdir()] == ["lock"]

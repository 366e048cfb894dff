"""What is counted, and that it is counted once."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.local.footprint import locked, size_on_disk
from deploy.local.memory import pss, tree

HOLDS_32_MB = "b = bytearray(b'x' * 2**25); print(flush=True); input()"


def test_memory_is_that_of_a_process_and_of_all_that_it_started() -> None:
    shell = ["/bin/sh", "-c", f'{sys.executable} -c "{HOLDS_32_MB}"; exit 0']
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = tree(process.pid)
        held, of_shell = pss(pids), pss([process.pid])
        process.communicate(b"\n")

    assert len(pids) == 2
    assert tree(process.pid, without=pids[1:]) == [process.pid]
    assert of_shell < 2**22
    assert 2**25 < held < 2**26
    assert pss(pids) == 0  # both are gone


def test_pages_that_processes_share_count_once() -> None:
    block = bytearray(os.urandom(2**25))
    alone = pss([os.getpid()])
    waits, goes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(goes)
        os.read(waits, 1)
        os._exit(0)
    both = pss([os.getpid(), child])
    os.close(goes)
    os.waitpid(child, 0)
    os.close(waits)

    assert len(block) == 2**25
    assert both < alone + 2**24


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(os.urandom(100_000))
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    paths = [tmp_path / "one", tmp_path / "two", tmp_path / "none"]

    assert 100_000 <= size_on_disk(paths) < 110_000


def test_the_packages_are_those_of_the_lock() -> None:
    text = "a_b.C==1.0 \\\n    --hash=sha256:00\nd==2 ; python_version < '4'\n# e==3\n"

    assert locked(text) == {"a-b-c", "d"}

"""What processes cost: CPU time and memory, as the kernel counts them (proc(5))."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.process import children

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGES_PER_MIB = (1 << 20) / os.sysconf("SC_PAGE_SIZE")
_UTIME = 11  # index of field 14 of /proc/PID/stat behind the name; stime, cutime, cstime follow
_BUSY = (0, 1, 2, 5, 6)
"""Fields of /proc/stat's first line: user, nice, system, irq, softirq."""


def tree(pid: int) -> list[int]:
    """Return the process and every living descendant."""
    return [pid, *(each for child in children(pid) for each in tree(child))]


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process and its descendants have used, the ended included.

    A tick is 10 ms on Linux, so measure work that takes a second or more.
    """
    return sum(_ticks(each) for each in tree(pid)) / _TICKS_PER_S


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process and its descendants; shared pages count for each."""
    pages = 0
    for each in tree(pid):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text(encoding="ascii").split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return pages / _PAGES_PER_MIB


def pss_kib(pid: int) -> int:
    """Return the memory of a process and its descendants; a shared page counts in parts."""
    total = 0
    for each in tree(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
        (line,) = (line for line in text.splitlines() if line.startswith("Pss:"))
        total += int(line.split()[1])
    return total


def machine_busy_s() -> float:
    """Return the seconds of CPU that everything on this machine has used."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
    return sum(int(first[index]) for index in _BUSY) / _TICKS_PER_S


@contextmanager
def pinned(subjects: Iterable[int], others: Iterable[int]) -> Iterator[None]:
    """Give the measured processes the last core and all others of the path the first one.

    Who shares a core with a busy neighbour loses its caches to it, which costs up to a third.
    Nothing happens on a machine with one core.
    """
    subjects, others = list(subjects), list(others)
    cores = sorted(os.sched_getaffinity(0))
    for pid in others:
        _pin(pid, {cores[0]})
    for pid in subjects:
        _pin(pid, {cores[-1]})
    try:
        yield
    finally:
        for pid in [*subjects, *others]:
            _pin(pid, set(cores))


def _pin(pid: int, cores: set[int]) -> None:
    for each in tree(pid):
        for thread in Path(f"/proc/{each}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return sum(int(field) for field in fields[_UTIME : _UTIME + 4])

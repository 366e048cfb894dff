"""What processes weigh: their proportional set size (PSS), by Linux's own account."""

import re
from collections.abc import Collection
from pathlib import Path

from deploy.local.process import children

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def tree(pid: int, *, without: Collection[int] = ()) -> list[int]:
    """Return a process and everything below it, but for `without` and what is below those."""
    below = (child for child in children(pid) if child not in without)
    return [pid, *(each for child in below for each in tree(child, without=without))]


def pss(pids: list[int]) -> int:
    """Return the bytes that processes hold, each shared page divided by those who share it.

    One that has ended, or belongs to somebody else, counts nothing.
    """
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    found = _PSS.search(text)
    return int(found[1]) * 1024 if found else 0

"""Ports of 127.0.0.1 for servers that tests start, whatever other tests run at the same time.

Looking for a free port and listening on it later is a race between test processes. So each process
owns a block of ports for as long as it lives, by a lock on a file, and looks only there.
"""

import fcntl
import os
import tempfile
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO

from deploy.local.ports import is_free

FIRST = 10_000  # above `make run` and its replicas
SIZE = 600
BLOCKS = 37  # they end below the range that the kernel hands out to clients


class _Block:
    def __init__(self, first: int, lock: IO[str]) -> None:
        self.ports = cycle(range(first, first + SIZE))
        self.last = first + SIZE - 1
        self.lock = lock  # held until the process ends


@cache
def _own_block() -> _Block:
    folder = Path(tempfile.gettempdir()) / f"thoughtflow-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(BLOCKS):
        lock = (folder / str(number)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return _Block(FIRST + number * SIZE, lock)
    raise RuntimeError(f"{BLOCKS} processes run tests already: wait until one has ended")


def free_port(count: int = 1) -> int:
    """Return a free port, or the first of `count` free ones in a row.

    The block is gone through in turn, so a port comes again only after all others.

    Raises:
        RuntimeError: the block has no such ports.
    """
    block = _own_block()
    for first, _ in zip(block.ports, range(2 * SIZE), strict=False):
        row = range(first, first + count)
        if row[-1] <= block.last and all(map(is_free, row)):
            for _ in row[1:]:
                next(block.ports)
            return first
    raise RuntimeError(f"no {count} free ports in a row up to {block.last}: stop a server")

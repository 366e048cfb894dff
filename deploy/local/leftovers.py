"""Processes and files that a killed run left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path


def started_at(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or none if it is gone.

    A pid alone names nothing for long: the pair of both does. Source: proc(5), stat field 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name, which may hold spaces and brackets.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])


def remove_stale_pid_file(pid_file: Path) -> None:
    """Remove PostgreSQL's pid file if its server is gone, and end the server if it is not.

    PostgreSQL itself takes any living process with that pid for its server: after a restart of the
    machine or of a container that is somebody else, and it would refuse to start.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if _is_postgres_of(pid, pid_file.parent):
        ticks = started_at(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)  # "immediate": the data recovers at the start
        wait_until_gone(pid, ticks, timeout_s=10)
    pid_file.unlink(missing_ok=True)


def is_alive(pid: int, ticks: int) -> bool:
    """Return whether the process that had this pid and start time (`started_at`) still lives."""
    return started_at(pid) == ticks


def wait_until_gone(pid: int, ticks: int | None, *, timeout_s: float) -> bool:
    """Wait for the end of a process, and return whether it came in time."""
    deadline = time.monotonic() + timeout_s
    while ticks is not None and started_at(pid) == ticks:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end_leftover(pid: int, ticks: int, *, timeout_s: float = 10) -> bool:
    """End a process by SIGTERM, by SIGKILL if that is not enough; a reused pid is left alone.

    Returns:
        Whether there was anything to end.
    """
    if not is_alive(pid, ticks):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until_gone(pid, ticks, timeout_s=timeout_s):
            break
    return True


def _is_postgres_of(pid: int, data: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return arguments[0].endswith(b"/postgres") and str(data).encode() in arguments

"""Starting and ending one process of the stack."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

CHILD = Path(__file__).with_name("child.py")
NOBODY = 65534


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and how it wants to be ended.

    Attributes:
        name: what people call it; one word.
        argv: the program by its absolute path, and its arguments.
        env: its whole environment; nothing is inherited.
        log: file that gets stdout and stderr, appended.
        port: the TCP port of 127.0.0.1 that it listens on.
        url: where a person or a test reaches it; never with a password.
        stop_signal: asks it to end by itself.
        stop_timeout_s: how long it may take for that before it is killed.
        death_signal: what the kernel sends it when the process that started it dies.
        uid: the user to run as, 0 for the present one.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    port: int
    url: str
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10
    death_signal: signal.Signals = signal.SIGKILL
    uid: int = 0
    what: str = field(default="", compare=False)

    def wrapped(self) -> list[str]:
        """Return the argument vector that ties the program's life to this process."""
        wrapper = [sys.executable, "-I", "-S", str(CHILD)]
        return [*wrapper, str(os.getpid()), str(int(self.death_signal)), str(self.uid), *self.argv]


class Process(Protocol):
    """A started process; `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, minus the signal's number, or none while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return what `poll` does."""

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing happens if it is gone."""


def spawn(command: Command, *, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Call it from a thread that lives as long as the program should: the kernel takes the end of the
    starting thread for the end of the parent.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        return subprocess.Popen(
            command.wrapped(),
            cwd=command.cwd,
            env=dict(command.env),
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: "subprocess.Popen[bytes]", command: Command) -> int:
    """Ask a process to end, kill it if it does not in its time, and return its exit code."""
    if process.poll() is None:
        process.send_signal(command.stop_signal)
        try:
            process.wait(command.stop_timeout_s)
        except subprocess.TimeoutExpired:
            kill(process)
    return process.wait()


def kill(process: Process) -> None:
    """Kill a process and what it started, at once; nothing happens if it is gone."""
    if process.poll() is None:
        for pid in [*children(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def children(pid: int) -> list[int]:
    """Return the pids that a process started and that still live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process of ours runs with.

    Raises:
        OSError: it has ended.
    """
    text = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

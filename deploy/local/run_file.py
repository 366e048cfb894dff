"""`run.json`: what runs now, for people, tests and the next start."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.local.leftovers import end_leftover, started_at
from deploy.local.process import Command
from deploy.local.server import write_private


@dataclass(frozen=True)
class Entry:
    """One process.

    Attributes:
        started_at: Unix time in seconds.
        ticks: start time by the kernel's clock; with `pid` it names the process for good.
    """

    name: str
    pid: int
    port: int
    url: str
    command: list[str]
    log: str
    started_at: float
    ticks: int


class RunFile:
    """The file, written anew at every change; its readers never see half of it."""

    def __init__(self, path: Path, launcher: int, urls: dict[str, str]) -> None:
        self._path = path
        self._head: dict[str, Any] = {
            "launcher": _identity(launcher),
            "ready": False,
            "urls": urls,
        }
        self._entries: dict[str, Entry] = {}

    def started(self, command: Command, pid: int) -> None:
        """Note a process that was started, in place of its predecessor."""
        self._entries[command.name] = Entry(
            name=command.name,
            pid=pid,
            port=command.port,
            url=command.url,
            command=list(command.argv),
            log=str(command.log),
            started_at=round(time.time(), 3),
            ticks=started_at(pid) or 0,
        )
        self._write()

    def fork_server_started(self, pid: int) -> None:
        """Note the process that forks the services, which is none of the stack's own."""
        self._head["fork_server"] = _identity(pid)
        self._write()

    def ended(self, name: str) -> None:
        """Forget a process that ended for good."""
        if self._entries.pop(name, None):
            self._write()

    def ready(self) -> None:
        """Note that the start is over and everything serves."""
        self._head["ready"] = True
        self._write()

    def remove(self) -> None:
        """Remove the file: nothing runs any more."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        partial = self._path.with_suffix(".new")
        processes = [asdict(entry) for entry in self._entries.values()]
        write_private(partial, json.dumps({**self._head, "processes": processes}, indent=2) + "\n")
        partial.rename(self._path)


def _identity(pid: int) -> dict[str, int | None]:
    return {"pid": pid, "ticks": started_at(pid)}


def read_run_file(path: Path) -> dict[str, Any] | None:
    """Return what the file says, or none if there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content


def end_leftovers(path: Path) -> list[str]:
    """End what a killed run left, the last started first, and return the names of what lived."""
    content = read_run_file(path) or {"processes": []}
    ended = [
        entry["name"]
        for entry in reversed(content["processes"])
        if end_leftover(entry["pid"], entry["ticks"])
    ]
    path.unlink(missing_ok=True)
    return ended

"""What PostgreSQL, Valkey and RabbitMQ have in common: prepare, start, probe, stop."""

import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from deploy.local.process import Command, end, kill, spawn

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ServerError(RuntimeError):
    """A server is not installed or does not come up; the message says what to do."""


class Server(ABC):
    """A server that is one main process, and perhaps a side process that has to be there first."""

    name: str

    def __init__(self, base: Path) -> None:
        self.base = base.absolute()
        self._running: list[tuple[Command, subprocess.Popen[bytes]]] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """URL for clients, with the administrator's password."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the base and its configuration; data that is there is kept."""

    @abstractmethod
    def commands(self) -> list[Command]:
        """Return what to run, in order; the server itself is last."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether it serves clients now."""

    def start(self) -> None:
        """Prepare and start it; `wait_ready` is separate, so that several can boot at once."""
        self.prepare()
        *side, main = self.commands()
        for command in side:
            self._running.append((command, spawn(command)))
            self._wait(partial(listens, command.port), timeout_s=10)
        self._running.append((main, spawn(main)))

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until it serves clients.

        Raises:
            ServerError: it ended or did not get there in time; the message has the end of its log.
        """
        self._wait(self.is_ready, timeout_s=timeout_s)

    def _wait(self, probe: Callable[[], bool], *, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not probe():
            command, process = self._running[-1]
            if process.poll() is not None or time.monotonic() > deadline:
                end_of_log = command.log.read_text(encoding="utf-8", errors="replace")[-1500:]
                raise ServerError(f"{self.name} is not ready, see {command.log}:\n{end_of_log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order and wait for that; nothing happens if it does not run."""
        for command, process in reversed(self._running):
            end(process, command)
        self._running = []

    def kill(self) -> None:
        """Kill it as a power cut would; a later `start` continues with what was on disk."""
        for _, process in reversed(self._running):
            kill(process)
        self._running = []

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def listens(port: int) -> bool:
    """Return whether anybody listens on the port."""
    return answers(port, b"", b"")


def answers(port: int, request: bytes, expected: bytes) -> bool:
    """Return whether the server on the port answers `request` by `expected`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.settimeout(1)
            connection.sendall(request)
            answer = b""
            while len(answer) < len(expected) and (part := connection.recv(len(expected))):
                answer += part
    except OSError:
        return False
    return answer.startswith(expected)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def package_folder(name: str) -> Path:
    """Return a package's folder without importing it."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ServerError(f"the package {name} is not installed: run `make run` or `make install`")
    return Path(found.submodule_search_locations[0])

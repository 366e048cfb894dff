"""The whole system as `make run` starts it, and what tests do to its processes."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from deploy.local.config import SERVICES
from deploy.local.leftovers import started_at
from deploy.local.process import children, environment_of
from deploy.local.server import listens
from deploy.local.stack import is_healthy
from libs.common.db import Connection
from libs.common.testing import eventually
from tests import leaks
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
LIMIT = 10
"""Messages a day of the Basic plan in these tests."""

SHAPES: Mapping[str, Mapping[str, str]] = {
    "single": {},
    "replicated": {"GATEWAYS": "3", "CHATS": "2", "AIS": "3"},
}
START_S = 100.0
SETTINGS = {
    "BASIC_MESSAGES_PER_DAY": str(LIMIT),
    # All people of these tests come from one address, and some are impatient.
    "ADDRESS_SIGNUPS_PER_HOUR": "0",
    "ADDRESS_SENDS_PER_HOUR": "0",
    "ANONYMOUS_REQUESTS_PER_MINUTE": "0",
    "USER_REQUESTS_PER_MINUTE": "0",
    "ACCESS_TOKEN_TTL_S": "3600",
    "LOG_LEVEL": "DEBUG",  # every line is looked through at the end
}


class Stack:
    """One run after the other of the system, in a home of its own.

    Attributes:
        source: the code that the next `start` runs.
    """

    def __init__(self, shape: str, *, backup: Path | None = None, source: Path = ROOT) -> None:
        self.source = source
        self.home = Path(tempfile.mkdtemp(prefix="thoughtflow-e2e-"))
        self.home.chmod(0o755)
        self.log = self.home / "run.log"
        self._environment = {
            **os.environ,
            **SETTINGS,
            **SHAPES[shape],
            "THOUGHTFLOW_HOME": str(self.home),
            "THOUGHTFLOW_PORT": str(free_port(130)),
        }
        self._environment.pop("MAKELEVEL", None)
        if backup is not None:
            code, said = self.command("backup", "restore", str(backup))
            assert code == 0, said
        self.start()

    def start(self) -> None:
        """Start it; `ready` waits for it."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "run"],
                cwd=self.source,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of `make` on this home; return its exit code and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    async def ready(self, within_s: float = START_S) -> None:
        """Wait until every process serves."""

        async def serves() -> bool:
            assert self._process.poll() is None, self.log.read_text()
            return await asyncio.to_thread(self._serves)

        await eventually(serves, within_s=within_s)

    def _serves(self) -> bool:
        if not (self.home / "run.json").exists() or not self.content()["ready"]:
            return False
        return all(
            is_healthy(each["port"])
            if service_of(each["name"]) in SERVICES
            else listens(each["port"])
            for each in self.processes()
        )

    def logs(self) -> list[Path]:
        """Return the log file of every process that has run here, the launcher's too."""
        return [self.log, *sorted(self.home.glob("logs/*.log"))]

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        return content

    def processes(self, *services: str) -> list[dict[str, Any]]:
        """Return the processes of these services and servers, or else all."""
        processes: list[dict[str, Any]] = self.content()["processes"]
        return [each for each in processes if not services or service_of(each["name"]) in services]

    def url(self, name: str) -> str:
        return str(self.content()["urls"][name])

    def gateways(self) -> list[str]:
        """Return the URL of every gateway."""
        return [each["url"] for each in self.processes("gateway")]

    def kill(self, *services: str) -> dict[str, int]:
        """Kill -9 every process of these services; return the pids by name."""
        return self.signal(signal.SIGKILL, *services)

    def signal(self, number: signal.Signals, *services: str) -> dict[str, int]:
        """Send a signal to every process of these services; return the pids by name."""
        victims = {each["name"]: int(each["pid"]) for each in self.processes(*services)}
        for pid in victims.values():
            os.kill(pid, number)
        return victims

    async def replaced(self, victims: Mapping[str, int]) -> None:
        """Wait until the supervisor has started other processes for these, and all serve."""

        async def are_others() -> bool:
            now = {each["name"]: each["pid"] for each in self.processes()}
            return all(now.get(name, pid) != pid for name, pid in victims.items())

        await eventually(are_others, within_s=60)
        await self.ready()

    async def gone(self, victims: Mapping[str, int], within_s: float) -> None:
        """Wait until these processes have ended."""

        async def have_ended() -> bool:
            return not any(started_at(pid) for pid in victims.values())

        await eventually(have_ended, within_s=within_s)

    async def hold_down(self, service: str, seconds: float) -> None:
        """Kill a server, and keep the next one from starting for so long."""
        (victim,) = self.kill(service).values()

        async def next_one() -> int | None:
            (pid,) = (each["pid"] for each in self.processes(service))
            return pid if pid != victim else None

        pid = await eventually(next_one)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # long before it listens
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        await self.replaced({service: victim})

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process, and what it has started, in the middle of what they do."""
        pids = [each["pid"] for each in self.processes() if each["name"] == name]
        pids += [child for pid in pids for child in children(pid)]
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    def cut_power(self) -> None:
        """Kill everything at once, the supervisor first."""
        pids = [self._process.pid, *(each["pid"] for each in self.processes())]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    async def migrate(self, service: str) -> None:
        """Bring a running service's schema up to date, as the job before an upgrade does."""
        (process, *_) = self.processes(service)
        migrating = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"services.{service}", "migrate"),
            cwd=ROOT,
            env=environment_of(process["pid"]),
            stdout=subprocess.DEVNULL,
        )
        assert await migrating.wait() == 0

    async def query(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask PostgreSQL as its administrator, who may read every schema."""
        conn = await asyncpg.connect(self.url("postgres"))
        try:
            return await ask(conn)
        finally:
            await conn.close()

    def shut_down(self) -> int:
        """End it in order, as Ctrl-C does; its home stays."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def stop(self) -> int:
        code = self.shut_down()
        for path in self.logs():
            leaks.heard(f"{path.stem} of {self.home.name}", path.read_text(errors="replace"))
        shutil.rmtree(self.home, ignore_errors=True)
        return code


def service_of(name: str) -> str:
    """Return what `name` is a process of: `chat` for `chat-2`."""
    return name.rstrip("-0123456789")


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a worker of PostgreSQL that was just ending
            os.kill(pid, number)

"""The measured system: started as by `make run`, each process when it is asked for."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncpg

from bench import raw_app
from bench.people import People
from deploy.local import accounts
from deploy.local.config import read_config
from deploy.local.passwords import Passwords
from deploy.local.port_plan import plan_ports
from deploy.local.ports import next_free
from deploy.local.process import Command, end, spawn
from deploy.local.server import Server, ServerError, listens
from deploy.local.stack import Programs, Stack, is_healthy

PROFILE = json.dumps({"id": "user", "name": "Ada", "about": "x" * 1460}, separators=(",", ":"))
"""What the app that plays auth answers to `GET /user/me`: 1.5 KB of JSON."""

_SETTINGS = {
    # The limiter counts every request and refuses none.
    "USER_REQUESTS_PER_MINUTE": "1000000",
    "USER_BURST": "100000",
    "ANONYMOUS_REQUESTS_PER_MINUTE": "1000000",
    "ANONYMOUS_BURST": "100000",
    "ADDRESS_SIGNUPS_PER_HOUR": "0",  # everybody comes from one address
    "ADDRESS_SENDS_PER_HOUR": "0",
    # A reply of the emulator comes at once, so that we measure ourselves.
    "GEMINI_MODEL": "gemini-3.8-flash",
}
_START_S = 60.0
_SERVICES = ("gateway", "chat", "ai", "billing")
_EMULATORS = ("gemini", "stripe")
_WITH_DATABASE = ("auth", "chat", "ai", "billing")


def _emulator(name: str) -> list[str]:
    pace = ["--first-token-ms", "0", "--chunk-ms", "0"] if name == "gemini" else []
    return [sys.executable, "-m", f"deploy.local.{name}", *pace]


class System:
    """Processes by name, in a home of their own.

    Args:
        home: an empty folder.
        first_port: where the block of ports begins; what is taken is passed over.
    """

    def __init__(self, home: Path, first_port: int) -> None:
        self.people = People()
        config = read_config(
            {"THOUGHTFLOW_HOME": str(home), "THOUGHTFLOW_PORT": str(first_port), **_SETTINGS},
            Path(os.devnull),
        )
        self.home = home
        self._next_port = first_port + 60
        self._ports = dict(plan_ports(config)[0])
        passwords = Passwords(home)
        self.webhook_secret = f"whsec_{passwords['stripe_webhook']}"
        self.stack = Stack(config, self._ports, passwords, Programs(emulator=_emulator))
        self._running: dict[str, tuple[Command, subprocess.Popen[bytes]]] = {}

    def runs(self, name: str) -> bool:
        """Return whether that was started."""
        return name in self._running

    def pid(self, name: str) -> int:
        """Return the pid of what runs under that name."""
        return self._running[name][1].pid

    def pids(self, *names: str) -> dict[str, int]:
        """Return pids by name."""
        return {name: self.pid(name) for name in names}

    def port(self, name: str) -> int:
        """Return the port that it listens on."""
        return self._ports[name]

    def database_url(self, role: str) -> str:
        """Return the URL for a service's role, which sees that service's schema."""
        password = self.stack.database_passwords()[role]
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port('postgres')}/thoughtflow"

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a connection of the superuser to the services' database."""
        return await asyncpg.connect(self.stack.urls()["postgres"])

    async def require(self, *names: str) -> None:
        """Start what does not run yet: servers, then the app that plays auth, then services.

        Raises:
            ServerError: something does not come up.
        """
        wanted = [name for name in names if name not in self._running]
        servers = {"postgres": self._database, "rabbitmq": self._broker, "valkey": self._cache}
        await asyncio.gather(*(start() for name, start in servers.items() if name in wanted))
        if "auth" in wanted:
            keys = json.dumps(self.people.issuer.jwks())
            answers = {"/.well-known/jwks.json": keys, "/user/me": PROFILE}
            await self.start_raw("auth", answers)
        for command in self.stack.emulators():
            if command.name in wanted and command.name in _EMULATORS:
                await self.start(command)
        for command in self.stack.services():
            if command.name in wanted and command.name in _SERVICES:
                await self.start(command, is_healthy)

    async def start_raw(self, name: str, answers: dict[str, str]) -> None:
        """Start a raw ASGI app with fixed answers by path."""
        port = self._ports.setdefault(name, self.free_port())
        await self.start(raw_app.command(name, port=port, answers=answers, folder=self.home))

    async def start(self, command: Command, probe: Callable[[int], bool] = listens) -> None:
        """Start a process and wait until it serves.

        Raises:
            ServerError: it ended, or is not there in time; the message has the end of its log.
        """
        self._ports[command.name] = command.port
        process = spawn(command)
        self._running[command.name] = command, process
        await self._ready(command, process, partial(probe, command.port))

    @asynccontextmanager
    async def model_paced(self, *, first_token_ms: float, chunk_ms: float) -> AsyncIterator[None]:
        """Let the emulated model write that fast while the block runs: it is another process."""
        (command,) = (each for each in self.stack.emulators() if each.name == "gemini")
        options = [f"--first-token-ms={first_token_ms:g}", f"--chunk-ms={chunk_ms:g}"]
        await self.end("gemini")
        await self.start(replace(command, argv=[*command.argv, *options]))
        try:
            yield
        finally:
            await self.end("gemini")
            await self.start(command)

    async def end(self, name: str) -> None:
        """End a process, and wait until it has ended."""
        command, process = self._running.pop(name)
        await asyncio.to_thread(end, process, command)

    async def tidy(self) -> None:
        """Vacuum and analyze, as autovacuum would within a minute: each side finds the same."""
        admin = await self.connect()
        await admin.execute("VACUUM (ANALYZE)")
        await admin.close()

    def free_port(self) -> int:
        """Return a port for something that is not part of the stack."""
        self._next_port = next_free(self._next_port + 1)
        return self._next_port

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a process do nothing at all while a reference runs without it."""
        os.kill(self.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid(name), signal.SIGCONT)

    def stop(self) -> None:
        """End everything, the last started first."""
        for command, process in reversed(self._running.values()):
            end(process, command)
        self._running.clear()

    async def _database(self) -> None:
        await self._server(self.stack.postgres)
        passwords = self.stack.database_passwords()
        await accounts.set_up_database(self.stack.postgres.url, passwords)
        migrations = [
            command
            for command in self.stack.migrations()
            if command.name.removesuffix("-migrate") in _WITH_DATABASE
        ]
        for command in migrations:
            if code := await asyncio.to_thread(spawn(command).wait):
                raise ServerError(f"{command.name} ended with {code}:\n{_end_of(command)}")
        admin = await self.connect()
        await self.people.entitle(admin)
        await admin.close()

    async def _broker(self) -> None:
        await self._server(self.stack.rabbitmq)
        rabbitmq = self.stack.rabbitmq
        await accounts.set_up_broker(
            rabbitmq.management_url, rabbitmq.password, self.stack.broker_passwords()
        )

    async def _cache(self) -> None:
        await self._server(self.stack.valkey)

    async def _server(self, server: Server) -> None:
        await asyncio.to_thread(server.prepare)
        *side, main = server.commands()
        for command in side:
            await self.start(command)
        process = spawn(main)
        self._running[main.name] = main, process
        await self._ready(main, process, server.is_ready)

    async def _ready(
        self, command: Command, process: "subprocess.Popen[bytes]", probe: Callable[[], bool]
    ) -> None:
        deadline = time.monotonic() + _START_S
        while not await asyncio.to_thread(probe):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{command.name} does not start:\n{_end_of(command)}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(first_port: int) -> AsyncIterator[System]:
    """Provide a system in which nothing runs yet; what was started in it leaves nothing behind."""
    system = System(_make_home(), first_port)
    try:
        yield system
    finally:
        await asyncio.to_thread(system.stop)
        for folder in (system.home, *system.stack.postgres.folder.elsewhere()):
            shutil.rmtree(folder, ignore_errors=True)


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="thoughtflow-bench-"))
    home.chmod(0o755)  # PostgreSQL runs as another user where we are root
    return home


def _end_of(command: Command) -> str:
    return command.log.read_text(encoding="utf-8", errors="replace")[-1500:]

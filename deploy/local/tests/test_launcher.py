"""The launcher from start to end, on real servers and with fake services."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local.config import ROOT
from deploy.local.leftovers import is_alive
from deploy.local.ports import is_free
from deploy.local.process import children
from deploy.local.stack import is_healthy
from tests.ports import free_port

pytestmark = pytest.mark.integration

PORT = free_port(130)
FORKED = {"auth", "chat", "chat-2", "ai", "billing", "gateway", "gemini", "stripe"}
NAMES = FORKED | {"postgres", "valkey", "rabbitmq", "epmd"}


class Launched:
    """A launcher in a process of its own."""

    def __init__(self, base: Path, wrapper: tuple[str, ...] = (), **values: str) -> None:
        self.home = base / "home"
        self.output = base / "output.txt"
        self.environment = {
            "PATH": os.environ["PATH"],
            "THOUGHTFLOW_HOME": str(self.home),
            "THOUGHTFLOW_PORT": str(PORT),
            **values,
        }
        self.known: list[dict[str, Any]] = []
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "deploy.local.tests.fake_stack"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.said(), f"{text!r} in the output", self.said)

    def run_file(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "run.json").read_text(encoding="utf-8"))
        return content

    def processes(self) -> dict[str, dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            entries = self.run_file()["processes"]
            self.known += [entry for entry in entries if entry not in self.known]
            return {entry["name"]: entry for entry in entries}
        return {}

    def command(self, name: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", name],
            cwd=ROOT,
            env=self.environment,
            input="y\n",
            capture_output=True,
            text=True,
            check=False,
        )

    def assert_nothing_is_left(self) -> None:
        def left() -> list[str]:
            return [
                entry["name"]
                for entry in self.known
                if is_alive(entry["pid"], entry["ticks"]) or not is_free(entry["port"])
            ]

        eventually(lambda: not left(), "every process gone", left, timeout_s=5)

    def clean_up(self) -> None:
        self.processes()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(FileNotFoundError):  # it may be below a shell
            launcher = self.run_file()["launcher"]
            self.known.insert(0, {"name": "launcher", "port": 0, **launcher})
        for entry in self.known:
            if is_alive(entry["pid"], entry["ticks"]):
                os.kill(entry["pid"], signal.SIGKILL)


def eventually(
    probe: Callable[[], bool], what: str, state: Callable[[], object], timeout_s: float = 40
) -> None:
    deadline = time.monotonic() + timeout_s
    while not probe():
        assert time.monotonic() < deadline, f"no {what}: {state()}"
        time.sleep(0.05)


@contextlib.contextmanager
def launched(base: Path, wrapper: tuple[str, ...] = (), **values: str) -> Iterator[Launched]:
    run = Launched(base, wrapper, **values)
    try:
        yield run
    finally:
        run.clean_up()


async def query(run: Launched, sql: str) -> object:
    conn = await asyncpg.connect(run.run_file()["urls"]["postgres"])
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def test_a_stack_survives_the_kill_of_its_parts_and_of_its_launcher(base: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", PORT + 2)),
        launched(base, CHATS="2") as run,
    ):
        run.wait_for("Thoughtflow is ready")
        assert f"the usual port of chat is taken: {PORT + 100} instead" in run.said()
        assert_run_file_is_true(run)
        assert_no_process_shows_a_secret(run)
        assert_second_launcher_is_refused(run)
        assert_killed_child_comes_back(run)
        assert_all_come_back_after_their_fork_server(run)
        assert run.command("status").returncode == 0
        assert run.command("reset").returncode == 1
        await query(run, "CREATE TABLE kept AS SELECT 'still here' AS word")
        run.processes()
        fork_server = run.run_file()["fork_server"]
        run.process.kill()
        run.process.wait()
        run.assert_nothing_is_left()
        eventually(
            lambda: not is_alive(**fork_server), "end of the fork server", lambda: fork_server
        )

    with launched(base) as run:
        run.wait_for("Thoughtflow is ready")
        assert await query(run, "SELECT word FROM kept") == "still here"
        assert run.processes()["chat"]["port"] == PORT + 100  # as last time
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(30) == 0
        run.assert_nothing_is_left()
        assert not (run.home / "run.json").exists()
        assert run.command("status").returncode == 1
        assert run.command("stop").returncode == 0
        assert run.command("reset").returncode == 0
        assert not run.home.exists()


def assert_run_file_is_true(run: Launched) -> None:
    processes = run.processes()
    assert processes.keys() == NAMES
    for entry in processes.values():
        assert is_alive(entry["pid"], entry["ticks"])
        assert Path(entry["log"]).exists()
        assert abs(time.time() - entry["started_at"]) < 60
    for name in ("auth", "chat", "chat-2", "ai", "billing", "gateway"):
        with urllib.request.urlopen(processes[name]["url"] + "/health/ready") as response:
            environment = json.load(response)
        assert environment["PORT"] == str(processes[name]["port"])
    urls = run.run_file()["urls"]
    assert urls["gateway"] == f"http://127.0.0.1:{PORT}"
    assert urls.keys() >= {"postgres", "rabbitmq", "management", "valkey", "gemini", "stripe"}
    eventually(lambda: run.run_file()["ready"], "mark in run.json", run.run_file)
    assert (run.home / "run.json").stat().st_mode & 0o077 == 0


def assert_no_process_shows_a_secret(run: Launched) -> None:
    secrets = json.loads((run.home / "secrets.json").read_text(encoding="utf-8")).values()
    pids = [entry["pid"] for entry in run.processes().values()]
    for pid in [*pids, *(child for parent in pids for child in children(parent))]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a short-lived child
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            assert not [secret for secret in secrets if secret in line], line.split("\0")[0]


def assert_second_launcher_is_refused(run: Launched) -> None:
    second = run.command("run")
    assert second.returncode == 1
    assert f"pid {run.process.pid}, http://127.0.0.1:{PORT}" in second.stdout


def assert_killed_child_comes_back(run: Launched) -> None:
    before = run.processes()["chat-2"]
    os.kill(before["pid"], signal.SIGKILL)
    run.wait_for(
        "chat-2 was killed by signal 9, starts again in 0.2 s. Its last line: chat listens"
    )
    eventually(
        lambda: run.processes()["chat-2"]["pid"] != before["pid"] and is_healthy(before["port"]),
        "new chat-2",
        run.said,
    )


def assert_all_come_back_after_their_fork_server(run: Launched) -> None:
    before = {name: run.processes()[name] for name in FORKED}
    servers = {name: pid_of(run, name) for name in NAMES - FORKED}
    os.kill(run.run_file()["fork_server"]["pid"], signal.SIGKILL)
    eventually(
        lambda: all(
            pid_of(run, name) != entry["pid"] and is_healthy(entry["port"])
            for name, entry in before.items()
        ),
        "other processes for all that it had started",
        run.said,
    )
    assert not [entry for entry in before.values() if is_alive(entry["pid"], entry["ticks"])]
    assert {name: pid_of(run, name) for name in servers} == servers


def pid_of(run: Launched, name: str) -> int:
    return int(run.processes()[name]["pid"])


def test_a_bad_setting_is_shown_and_ends_the_start(base: Path) -> None:
    with launched(base, BAD_SETTING="chat migrate") as run:
        assert run.process.wait(30) == 1
        assert "chat: BAD_SETTING must be better than that" in run.said()
        assert "All stopped" in run.said()
        run.assert_nothing_is_left()


def test_a_launcher_does_not_outlive_its_make(base: Path) -> None:
    wrapper = ("/bin/sh", "-c", '"$@" & wait', "make")
    with launched(base, wrapper, MAKELEVEL="1") as run:
        run.wait_for("  database")
        run.processes()
        run.process.kill()  # the shell that stands for make
        run.wait_for("All stopped")
        run.assert_nothing_is_left()

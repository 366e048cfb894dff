"""Programs of the stack that one process forks, `deploy.local.fork_server`; the launcher's side."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import TypeAlias

from deploy.local.fork_server import Program
from deploy.local.leftovers import is_alive, started_at
from deploy.local.process import Command, end, spawn
from deploy.local.run_file import RunFile
from deploy.local.server import ServerError
from deploy.local.supervisor import last_lines

Requests: TypeAlias = "Connection[tuple[int, Program], tuple[int, int, int | None]]"
POLL_S = 0.02


class Forked:
    """A program that the fork server has started; its interface is that of `Popen`."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.is_orphaned = False
        self._ticks = started_at(pid)
        self._server = server

    def poll(self) -> int | None:
        """Return the exit code, minus the signal's number, or none while it runs."""
        self._server.receive()
        if self.code is None and self.is_orphaned and not self._is_alive():
            self.code = -signal.SIGKILL  # what the kernel sent it when its server died
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it did not come within `timeout` seconds.
        """
        deadline = time.monotonic() + (timeout or 0)
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_S)
        return code

    def send_signal(self, sig: int) -> None:
        """Send it a signal; nothing happens if it is gone."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def _is_alive(self) -> bool:
        return self._ticks is not None and is_alive(self.pid, self._ticks)


class ForkServer:
    """The process that forks, started when it is first needed and again when it is gone.

    What it has started dies with it, killed by the kernel. Use it in one event loop.
    """

    def __init__(self, command: Command, run_file: RunFile) -> None:
        self._command = command
        self._run_file = run_file
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Requests | None = None
        self._numbers = itertools.count()
        self._awaited: dict[int, asyncio.Future[Forked]] = {}
        self._forked: dict[int, Forked] = {}

    async def start(self, command: Command) -> Forked:
        """Start a command whose program is this Python.

        Raises:
            ServerError: the fork server does not start, or died meanwhile.
        """
        command.log.parent.mkdir(parents=True, exist_ok=True)
        if self._connection is None:
            self._connection = self._open()
        number = next(self._numbers)
        answer: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._awaited[number] = answer
        with suppress(OSError):  # it is gone, which `receive` is about to find out
            self._connection.send((number, _program(command)))
        return await answer

    def receive(self) -> None:
        """Take in what the server has told since the last time."""
        try:
            while self._connection is not None and self._connection.poll():
                self._note(*self._connection.recv())
        except (EOFError, ConnectionResetError):
            self._lose()

    def stop(self) -> None:
        """End it, and with it all that it has started and that still runs."""
        if self._process is not None:
            end(self._process, self._command)
            self._lose()

    def _open(self) -> Requests:
        ours, theirs = Pipe()
        with theirs:
            self._process = spawn(self._command, stdin=theirs.fileno())
        self._run_file.fork_server_started(self._process.pid)
        asyncio.get_running_loop().add_reader(ours.fileno(), self.receive)
        return ours

    def _note(self, number: int, pid: int, code: int | None) -> None:
        if code is not None:
            self._forked.pop(number).code = code
            return
        forked = self._forked[number] = Forked(self, pid)
        answer = self._awaited.pop(number)
        if answer.cancelled():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        else:
            answer.set_result(forked)

    def _lose(self) -> None:
        """Forget a server that is gone."""
        if self._connection is None or self._process is None:
            return
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._connection.close()
        self._connection = None
        self._process.kill()
        self._process.wait()
        last = last_lines(self._command, 1)
        problem = f"the fork server ended, see {self._command.log}. Its last line: {last}"
        for answer in self._awaited.values():
            if not answer.cancelled():
                answer.set_exception(ServerError(problem))
        for forked in self._forked.values():
            forked.is_orphaned = True
        self._awaited.clear()
        self._forked.clear()


def _program(command: Command) -> Program:
    python, *arguments = command.argv
    if python != sys.executable:
        raise ValueError(f"{command.name} is no program of this Python")
    return Program(
        arguments=arguments,
        cwd=str(command.cwd),
        env=dict(command.env),
        log=str(command.log),
        death_signal=command.death_signal,
    )

"""Keeps one process alive until it is told to stop."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from deploy.local.process import Command, Process, kill
from deploy.local.run_file import RunFile
from deploy.local.server import ServerError
from deploy.local.terminal import say

POLL_S = 0.1
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
STABLE_S = 30.0  # one that lived this long starts again without a wait
HOPELESS = 3  # deaths before it was ever ready: then its settings are bad, not its luck

Start: TypeAlias = Callable[[Command], Awaitable[Process]]
"""Starts a command; raises `ServerError` if it cannot now."""


class StartError(RuntimeError):
    """A process does not come up; the message has the end of its log."""


class Child:
    """A supervised process."""

    def __init__(
        self, command: Command, start: Start, probe: Callable[[], bool], run_file: RunFile
    ) -> None:
        self.command = command
        self.deaths_before_ready = 0
        self._start = start
        self._probe = probe
        self._run_file = run_file
        self._process: Process | None = None
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        _rotate(self.command)
        self._task = asyncio.create_task(self._supervise())

    async def ready(self, timeout_s: float = 60) -> None:
        """Wait until it serves.

        Raises:
            StartError: it died again and again, or is not there in time.
        """
        deadline = time.monotonic() + timeout_s
        while not await asyncio.to_thread(self._probe):
            hopeless = self.deaths_before_ready >= HOPELESS or time.monotonic() > deadline
            if hopeless or (self._task is not None and self._task.done()):
                raise StartError(
                    f"{self.command.name} does not start. The end of {self.command.log}:\n"
                    f"{last_lines(self.command, 12)}"
                )
            await asyncio.sleep(POLL_S)
        self._was_ready = True

    async def stop(self) -> None:
        """Ask it to end, kill it if it does not in its time; returns when it is gone."""
        self._stopping.set()
        async with self._starting:  # what is just being born has no pid yet
            process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self.command.stop_signal)
            try:
                async with asyncio.timeout(self.command.stop_timeout_s):
                    await exit_code(process)
            except TimeoutError:
                say(f"  {self.command.name} did not end in time: killed", mood="bad")
                kill(process)
        if self._task is not None:
            await self._task

    def kill(self) -> None:
        """Kill it at once."""
        self._stopping.set()
        if self._process is not None:
            kill(self._process)

    async def _supervise(self) -> None:
        delay = FIRST_DELAY_S
        while not self._stopping.is_set():
            started = time.monotonic()
            how = await self._live()
            if self._stopping.is_set():
                break
            if time.monotonic() - started > STABLE_S:
                delay = FIRST_DELAY_S
            self._report(how, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, LONGEST_DELAY_S)
        self._run_file.ended(self.command.name)

    async def _live(self) -> str:
        """Start the process, wait for its end, and return how it came."""
        async with self._starting:
            if self._stopping.is_set():
                return "was stopped"
            try:
                self._process = await self._start(self.command)
            except ServerError as problem:
                return f"did not start: {problem}"
        self._run_file.started(self.command, self._process.pid)
        code = await exit_code(self._process)
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def _report(self, how: str, delay: float) -> None:
        self.deaths_before_ready += not self._was_ready
        last = last_lines(self.command, 1)
        words = f"{self.command.name} {how}, starts again in {delay:g} s"
        say(f"  {words}. Its last line: {last}" if last else f"  {words}", mood="bad")


async def exit_code(process: Process) -> int:
    """Wait for the end of a process, and return its exit code, or minus the signal's number."""
    while (code := process.poll()) is None:  # noqa: ASYNC110 - else a thread per process
        await asyncio.sleep(POLL_S)
    return code


def last_lines(command: Command, count: int) -> str:
    """Return the last lines of a process's log."""
    try:
        with command.log.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 8192))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-count:])


def _rotate(command: Command) -> None:
    """Keep the log of one run before this."""
    if command.log.exists():
        command.log.rename(command.log.with_suffix(".log.1"))

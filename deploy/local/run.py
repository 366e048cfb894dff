"""`make run`: one run of the stack, from the lock of its home to the last process's end."""

import asyncio
import os
import signal
import time
from contextlib import suppress

from deploy.local import home
from deploy.local.config import Config
from deploy.local.launcher import Launcher
from deploy.local.passwords import Passwords
from deploy.local.port_plan import plan_ports
from deploy.local.run_file import RunFile, end_leftovers
from deploy.local.server import ServerError
from deploy.local.stack import Programs, Stack
from deploy.local.supervisor import StartError
from deploy.local.terminal import say

SAME_KEYSTROKE_S = 1.0  # make passes a signal on that the terminal sent to both


class Stop:
    """What asks the run to end: a signal, or the end of the `make` that started it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        self._first = 0.0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            loop.add_signal_handler(number, self._on_signal)

    async def watch_make(self) -> None:
        """Ask for the end when the `make` that started this process dies."""
        parent = os.getppid()
        while "MAKELEVEL" in os.environ and not self.asked.is_set():
            if os.getppid() != parent:
                self.asked.set()
            await asyncio.sleep(0.5)

    def _on_signal(self) -> None:
        if not self.asked.is_set():
            self._first = time.monotonic()
            self.asked.set()
        elif time.monotonic() - self._first > SAME_KEYSTROKE_S:
            self.insisted.set()


async def run(config: Config, programs: Programs) -> int:
    """Start the stack, watch over it until it is asked to stop, and return the exit code.

    Raises:
        home.HomeInUseError: another launcher runs this home.
    """
    stop = Stop()
    lock = home.take_home(config)
    try:
        return await _run_locked(config, programs, stop)
    finally:
        home.stopping_path(config.home).unlink(missing_ok=True)
        lock.close()


async def _run_locked(config: Config, programs: Programs, stop: Stop) -> int:
    started = time.monotonic()
    say(f"Thoughtflow starts in {config.home}")
    if leftovers := end_leftovers(home.run_path(config.home)):
        say(f"  ended what the last run left: {', '.join(leftovers)}")
    ports, moved = plan_ports(config)
    for name in moved:
        say(f"  the usual port of {name} is taken: {ports[name]} instead")
    stack = Stack(config, ports, Passwords(config.home), programs)
    if stack.postgres.folder.path != stack.postgres.base:
        say(f"  PostgreSQL must not run as root: its data is in {stack.postgres.folder.path}")
    run_file = RunFile(home.run_path(config.home), os.getpid(), stack.urls())
    launcher = Launcher(stack, run_file)
    watch = asyncio.create_task(stop.watch_make())
    code = await _start_and_watch(launcher, stack, run_file, stop, started)
    watch.cancel()
    home.stopping_path(config.home).touch()
    say("Thoughtflow stops; Ctrl-C again kills it at once")
    await _stop(launcher, stop)
    run_file.remove()
    say(f"All stopped. Data and logs are kept in {config.home}")
    return code


async def _start_and_watch(
    launcher: Launcher, stack: Stack, run_file: RunFile, stop: Stop, started: float
) -> int:
    """Return 0 when asked to stop, 1 if the start failed."""
    start = asyncio.create_task(launcher.start())
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({start, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not start.done():
        start.cancel()
        with suppress(asyncio.CancelledError):
            await start
        return 0
    try:
        start.result()
    except (StartError, ServerError) as problem:
        say(str(problem), mood="bad")
        asked.cancel()
        return 1
    _announce(stack, time.monotonic() - started)
    run_file.ready()
    # A kill soon after RabbitMQ's first boot would lose queues otherwise.
    settle = asyncio.create_task(launcher.settle())
    await asked
    with suppress(asyncio.CancelledError):
        await settle
    return 0


async def _stop(launcher: Launcher, stop: Stop) -> None:
    stopping = asyncio.create_task(launcher.stop())
    insisted = asyncio.create_task(stop.insisted.wait())
    await asyncio.wait({stopping, insisted}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        say("  killed", mood="bad")
        launcher.kill()
    insisted.cancel()
    await stopping


def _announce(stack: Stack, seconds: float) -> None:
    urls = stack.urls()
    say()
    say(f"Thoughtflow is ready after {seconds:.1f} s", mood="good")
    say(f"  API            {urls['gateway']}")
    say(f"  Documentation  {urls['gateway']}/docs")
    say(f"  RabbitMQ       {urls['management']}  login {stack.management_login()}")
    for name in ("gemini", "stripe"):
        if name in urls:
            say(f"  {name.title():<13}  {urls[name]}  (an emulator: no key is set)")
    say(f"  Logs           {stack.config.home / 'logs'}")
    say("Try it in another terminal: make demo, or the curl commands in README.md. Ctrl-C stops.\n")

"""What the supervisor does when starting takes a while, or fails."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from deploy.local.process import Command, Process, spawn
from deploy.local.run_file import RunFile
from deploy.local.server import ServerError
from deploy.local.supervisor import HOPELESS, Child, Start, StartError


@pytest.fixture
def command(tmp_path: Path) -> Command:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    log = tmp_path / "sleep.log"
    return Command(name="sleep", argv=argv, cwd=tmp_path, env={}, log=log, port=0, url="")


def supervised(command: Command, start: Start) -> Child:
    run_file = RunFile(command.cwd / "run.json", os.getpid(), {})
    return Child(command, start, lambda: False, run_file)


async def test_a_process_that_is_stopped_while_it_is_being_started_ends(command: Command) -> None:
    asked, may_go = asyncio.Event(), asyncio.Event()
    started: list[Process] = []

    async def start_slowly(command: Command) -> Process:
        asked.set()
        await may_go.wait()
        started.append(spawn(command))
        return started[0]

    child = supervised(command, start_slowly)
    child.start()
    await asked.wait()
    stopping = asyncio.create_task(child.stop())
    await asyncio.sleep(0)
    may_go.set()
    async with asyncio.timeout(10):
        await stopping

    assert started[0].poll() == -signal.SIGTERM


async def test_a_start_that_fails_is_tried_again_and_given_up_at_last(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = 0

    async def fail(command: Command) -> Process:
        nonlocal attempts
        attempts += 1
        raise ServerError("out of order")

    child = supervised(command, fail)
    child.start()
    with pytest.raises(StartError):
        await child.ready()
    await child.stop()

    assert attempts >= HOPELESS
    assert "sleep did not start: out of order, starts again in 0.2 s" in capsys.readouterr().out

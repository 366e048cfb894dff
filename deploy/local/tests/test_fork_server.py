"""Programs that the fork server starts, compared with those that Python starts."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.local.config import ROOT
from deploy.local.forks import ForkServer
from deploy.local.leftovers import started_at
from deploy.local.process import Command, children, spawn
from deploy.local.run_file import RunFile
from deploy.local.server import ServerError
from deploy.local.supervisor import exit_code
from deploy.local.tests.scripts import MADE_UP, SHOW, SPENT
from libs.common.testing import eventually

START = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
"""What Python itself goes by when it starts."""

Program = Callable[..., Command]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes a command of a few lines of Python."""

    def make(code: str, name: str = "program") -> Command:
        script = tmp_path / f"{name}.py"
        script.write_text(code)
        return Command(
            name=name,
            argv=[sys.executable, str(script)],
            cwd=tmp_path,
            env={"ONLY": "this", **START},
            log=tmp_path / f"{name}.log",
            port=0,
            url="",
        )

    return make


class Forks(ForkServer):
    """A fork server with folders of its own."""

    def __init__(self, folder: Path, *libraries: str) -> None:
        command = Command(
            name="fork-server",
            argv=[sys.executable, "-m", "deploy.local.fork_server", *libraries],
            cwd=ROOT,
            env={"SERVER": "only", "ROOM": 999 * " ", **START, "PYTHONPATH": str(folder)},
            log=folder / "fork-server.log",
            port=0,
            url="",
        )
        self._content = folder / "run.json"
        super().__init__(command, RunFile(self._content, os.getpid(), {}))

    def pid(self) -> int:
        return int(json.loads(self._content.read_text())["fork_server"]["pid"])

    async def run(self, command: Command) -> str:
        """Run a program to its end, and return what it wrote."""
        command.log.unlink(missing_ok=True)
        assert await exit_code(await self.start(command)) == 0, command.log.read_text()
        return command.log.read_text()


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[Forks]:
    forks = Forks(tmp_path)
    yield forks
    forks.stop()


@pytest.mark.parametrize("arguments", [["{folder}/program.py", "one", "two"], ["-m", "program"]])
async def test_a_forked_program_finds_what_a_started_one_finds(
    forks: Forks, program: Program, tmp_path: Path, arguments: list[str]
) -> None:
    argv = [sys.executable, *(each.format(folder=tmp_path) for each in arguments)]
    forked = replace(program(SHOW), argv=argv)
    started = replace(forked, log=tmp_path / "started.log")

    await forks.start(program("import time; time.sleep(60)", "another"))
    assert await asyncio.to_thread(spawn(started).wait) == 0
    expected: dict[str, Any] = json.loads(started.log.read_text())
    found: dict[str, Any] = json.loads(await forks.run(forked))

    assert expected.pop("stdout") == str(started.log)
    assert found.pop("stdout") == str(forked.log)
    found["path"].remove(str(tmp_path))  # of the server's, from where it has libraries
    assert found == expected
    assert found["environment"] == {"ONLY": "this", **START}
    assert found["own session"]
    assert found["dies with"] == signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "expected", "written"),
    [
        ("print('done')", 0, "done\n"),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise LookupError('lost')", 1, "LookupError: lost\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, "first\nlast\n"),
    ],
)
async def test_how_a_program_ended_is_known(
    forks: Forks, program: Program, code: str, expected: int, written: str
) -> None:
    command = program(code)

    assert await exit_code(await forks.start(command)) == expected
    assert command.log.read_text().endswith(written)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_signal_ends_a_program_as_it_would_any(
    forks: Forks, program: Program, number: signal.Signals
) -> None:
    command = program("import time; print('here', flush=True); time.sleep(60)")
    process = await forks.start(command)
    await eventually(partial(has_written, command))

    process.send_signal(number)

    assert await exit_code(process) == -number
    process.send_signal(number)  # somebody else's by now, who is left alone


async def test_two_programs_make_up_different_numbers_and_ids(
    program: Program, tmp_path: Path
) -> None:
    program(SPENT, "spent")  # the generators are in use when the fork comes
    forks = Forks(tmp_path, "spent")
    command = program(MADE_UP.format(root=str(ROOT)))

    first, second = [(await forks.run(command)).split() for _ in range(2)]
    forks.stop()

    assert len(first) == 4
    assert not set(first) & set(second)


async def test_a_program_that_is_started_again_runs_what_is_on_disk_then(
    forks: Forks, program: Program
) -> None:
    command = program("import part; print(part.WORD)")

    program("WORD = 'old'", "part")
    assert await forks.run(command) == "old\n"
    program("WORD = 'newer'", "part")
    assert await forks.run(command) == "newer\n"


async def test_what_the_server_has_imported_is_used_until_it_is_another_on_disk(
    tmp_path: Path, program: Program
) -> None:
    program("import os; WORD, BY = 'old', os.getpid()", "part")
    forks = Forks(tmp_path, "part")
    command = program(
        "import os, part; print(part.WORD, part.BY == os.getpid(), os.environ['ONLY'])"
    )

    assert await forks.run(command) == "old False this\n"
    program("import os; WORD, BY = 'newer', os.getpid()", "part")
    assert await forks.run(command) == "newer True this\n"
    process = await forks.start(program("import time; print('here', flush=True); time.sleep(60)"))
    forks.stop()

    assert await exit_code(process) == -signal.SIGKILL


async def test_programs_die_with_their_server_and_the_next_one_has_another(
    forks: Forks, program: Program
) -> None:
    command = program("import time; print('here', flush=True); time.sleep(60)")
    programs = [await forks.start(command), await forks.start(command)]
    first = forks.pid()

    os.kill(first, signal.SIGKILL)
    assert [await exit_code(each) for each in programs] == [-signal.SIGKILL] * 2

    assert [started_at(each.pid) for each in programs] == [None] * 2
    again = await forks.start(command)
    assert forks.pid() != first
    assert children(forks.pid()) == [again.pid]


async def test_a_program_counts_as_running_until_it_is_gone_whatever_became_of_its_server(
    forks: Forks, program: Program
) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    command = program(ignore + "print('here', flush=True); time.sleep(60)")
    process = await forks.start(replace(command, death_signal=signal.SIGTERM))
    await eventually(partial(has_written, command))

    os.kill(forks.pid(), signal.SIGKILL)
    await eventually(partial(is_noticed, forks))
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)

    assert await exit_code(process) == -signal.SIGKILL


async def test_nothing_outlives_a_server_that_is_stopped(forks: Forks, program: Program) -> None:
    process = await forks.start(program("import time; time.sleep(60)"))

    forks.stop()

    assert process.wait(5) == -signal.SIGKILL


async def test_a_start_that_nobody_awaits_any_more_leaves_nothing(
    forks: Forks, program: Program
) -> None:
    command = program("import time; time.sleep(60)")
    unwanted = asyncio.create_task(forks.start(command))
    await asyncio.sleep(0)  # it has asked, and the server is only being started
    unwanted.cancel()

    wanted = await forks.start(command)

    async def only_the_other() -> bool:
        return children(forks.pid()) == [wanted.pid]

    await eventually(only_the_other)


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=[9]).start()", "thread"),
        ("raise ValueError('out of order')", "ValueError: out of order"),
    ],
)
async def test_a_server_that_must_not_fork_says_why(
    program: Program, tmp_path: Path, library: str, problem: str
) -> None:
    program(library, "library")
    forks = Forks(tmp_path, "library")

    with pytest.raises(ServerError, match=problem):
        await forks.start(program("pass"))


async def test_a_library_that_is_not_installed_is_left_out(
    program: Program, tmp_path: Path
) -> None:
    forks = Forks(tmp_path, "no_such_library", "json.tool")

    loaded = await forks.run(program("import sys; print('json.tool' in sys.modules)"))
    forks.stop()

    assert loaded == "True\n"


async def test_the_list_of_processes_shows_the_program(forks: Forks, program: Program) -> None:
    command = program("import time; print('here', flush=True); time.sleep(60)")
    process = await forks.start(replace(command, argv=[sys.executable, "-m", "program"]))
    await eventually(partial(has_written, command))

    assert arguments_of(process.pid) == ["python", "-m", "program"]


async def is_noticed(forks: Forks) -> bool:
    return forks._connection is None


def arguments_of(pid: int) -> list[str]:
    line = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    return line.rstrip("\0").split("\0")


async def has_written(command: Command) -> bool:
    return command.log.exists() and bool(command.log.read_text())

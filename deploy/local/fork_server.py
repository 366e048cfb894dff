"""Forks the Python programs of a stack from one process that has imported their libraries.

`python -m deploy.local.fork_server LIBRARY...`, with a connection of `multiprocessing` as its
stdin, over which `deploy.local.forks` asks. The memory that the libraries take is then there once
and not in every program: docs/decisions/0025-local-programs-are-forked.md. Once a file of ours that
it has imported is another one, Python starts each program from the beginning: what is started again
runs what is on disk then.
"""

import ctypes
import gc
import os
import runpy
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias, TypedDict

PR_SET_PDEATHSIG = 1


class Program(TypedDict):
    """What to run; the fields are those of `deploy.local.process.Command`.

    Attributes:
        arguments: of Python: `-m`, a module and its arguments, or a path and its arguments.
    """

    arguments: list[str]
    cwd: str
    env: dict[str, str]
    log: str
    death_signal: int


Files: TypeAlias = dict[str, int]
"""Times of change, in nanoseconds, by path; 0 where there is no such file any more."""


def load(libraries: Sequence[str]) -> Files:
    """Import what the programs have in common, and keep the garbage collector from its pages.

    Returns:
        The files that were imported and are neither Python's nor in its packages.
    """
    gc.disable()  # or it would free objects and leave holes that the programs fill one by one
    for library in libraries:
        with suppress(ModuleNotFoundError):  # if a program wants it, that says so better
            import_module(library)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit("a library has started a thread, which a fork would leave behind in mid-work")
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    of_python = sys.prefix, sys.base_prefix
    ours = changed_at(file for file in files if file and not file.startswith(of_python))
    gc.freeze()
    return ours


def changed_at(files: Iterable[str]) -> Files:
    """Return the present times of change."""
    return {file: Path(file).stat().st_mtime_ns if Path(file).exists() else 0 for file in files}


def serve(launcher: "Connection[tuple[int, int, int | None], tuple[int, Program]]") -> Program:
    """Fork for each request, and tell pids and exit codes.

    Takes `(number, program)`; answers `(number, pid, None)`, and `(number, pid, code)` at its end.

    Returns:
        The program that this process, a child, shall become.

    Raises:
        EOFError: the launcher is gone.
    """
    running: dict[int, tuple[int, int]] = {}  # (number, pid) by pidfd
    while True:
        for ready in wait([launcher, *running]):
            if ready is launcher:
                number, program = launcher.recv()
                parent, pid = os.getpid(), os.fork()
                if pid == 0:
                    launcher.close()
                    for pidfd in running:
                        os.close(pidfd)
                    detach(parent, program["death_signal"])
                    return program
                running[os.pidfd_open(pid)] = number, pid
                launcher.send((number, pid, None))
            elif isinstance(ready, int):
                number, pid = running.pop(ready)
                os.close(ready)
                launcher.send((number, pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


def detach(parent: int, death_signal: int) -> None:
    """Leave the session, and tie this process's life to its parent's."""
    os.setsid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)


def become(program: Program, imported: Files) -> None:
    """Run a program as Python would have, had it been started for it; returns at its end.

    Args:
        program: what to run.
        imported: what `load` has returned. If it is not so any more, Python is started for it.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(program["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for opened, standard in ((nothing, 0), (log, 1), (log, 2)):
        if opened != standard:
            os.dup2(opened, standard)
    for opened in {nothing, log} - {0, 1, 2}:
        os.close(opened)
    os.chdir(program["cwd"])
    if changed_at(imported) != imported:
        command = [sys.executable, *program["arguments"]]
        os.execve(sys.executable, command, program["env"])  # noqa: S606 - no shell is wanted
    os.environ.clear()  # from now on nothing points to where the server's was
    os.environ.update(program["env"])
    show(["python", *program["arguments"]], program["env"])
    gc.enable()
    kind, *rest = program["arguments"]
    if kind == "-m":
        sys.argv = rest
        sys.path[0] = program["cwd"]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *rest]
        sys.path[0] = str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


def show(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Have `ps` and /proc show these instead of this server's, as far as there is room."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    places = [int(field) for field in fields[45:49]]  # arg_start to env_end of proc(5)
    _overwrite(places[0], places[1], arguments)
    _overwrite(places[2], places[3], [f"{name}={value}" for name, value in env.items()])


def _overwrite(start: int, end: int, strings: Sequence[str]) -> None:
    text = "\0".join(strings).encode(errors="surrogateescape")[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    imported = load(sys.argv[1:])
    try:
        wanted = serve(Connection(0))
    except EOFError:
        sys.exit()
    become(wanted, imported)

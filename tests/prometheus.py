"""Prometheus and its promtool, from the system's packages, for what tests ask of them."""

import atexit
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest


@cache
def prometheus_bin() -> Path:
    """Return the folder with `prometheus` and `promtool`; nothing is installed on the machine.

    Skips the test where Debian's package cannot be had.
    """
    if there := shutil.which("promtool"):
        return Path(there).parent
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("there is no promtool here, and no apt to get it by")
    folder = Path(mkdtemp(prefix="thoughtflow-prometheus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fetch = ["apt-get", "download", "--quiet", "prometheus"]
    done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Debian's package prometheus cannot be had here: {done.stderr.strip()}")
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    package.unlink()
    return folder / "usr/bin"

"""What tests need of npm, as `tests/npm` locks it."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "npm"
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm here")


def install_into(folder: Path) -> Path:
    """Install the locked packages, without what they would run; return `node_modules`."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder)
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=200)
    return folder / "node_modules"

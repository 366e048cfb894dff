"""`make demo` where nothing runs yet: the whole system, real but for Gemini and Stripe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.config import ROOT
from tests.ports import free_port

pytestmark = pytest.mark.e2e

PORT = free_port(130)


def test_the_demo_starts_a_stack_of_its_own_reaches_pro_and_leaves_nothing(base: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "THOUGHTFLOW_HOME": str(base / "home"),
        "THOUGHTFLOW_PORT": str(PORT),
    }

    demo = subprocess.run(
        [sys.executable, "-m", "deploy.local", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    steps = [
        "Nothing runs yet: starting a stack for the demo",
        f"PostgreSQL on 127.0.0.1:{PORT + 10}",
        "Thoughtflow is ready",
        "Sign up",
        "Done: the plan is Pro",
        "Stopping the stack that the demo started.",
        "All stopped.",
    ]
    places = [demo.stdout.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)
    assert not (base / "home/run.json").exists()

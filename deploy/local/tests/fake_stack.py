"""The launcher with fake services: `python -m deploy.local.tests.fake_stack`."""

import asyncio
import sys
from pathlib import Path

from deploy.local.config import current_config
from deploy.local.run import run
from deploy.local.stack import Programs

FAKE = str(Path(__file__).with_name("fake_program.py"))


def fake(name: str) -> list[str]:
    return [sys.executable, FAKE, name]


if __name__ == "__main__":
    sys.exit(asyncio.run(run(current_config(), Programs(service=fake, emulator=fake))))

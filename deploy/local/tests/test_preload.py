"""Whether the fork server imports what the programs share, and no more."""

import json
import os
import sys
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from deploy.local.config import ROOT
from deploy.local.footprint import LOCK, locked
from deploy.local.forks import ForkServer
from deploy.local.preload import COMMON, LIBRARIES
from deploy.local.process import Command
from deploy.local.run_file import RunFile
from deploy.local.supervisor import exit_code

IMPORTS = """
import json, sys
sys.path.insert(0, {root!r})
before = sorted(sys.modules)
import {module}
after = {{name: getattr(module, "__file__", None) for name, module in sys.modules.items()}}
print(json.dumps({{"before": before, "after": after}}))
"""
PACKAGES = packages_distributions()
INSTALLED = locked(LOCK.read_text(encoding="utf-8"))
OURS = {"deploy", "libs", "services"}


@pytest.fixture
async def imported(tmp_path: Path) -> list[dict[str, Any]]:
    """What each forked program finds, and what it has after it imported all that is its own."""
    modules = [f"services.{name}.app" for name in ("auth", "chat", "ai", "billing", "gateway")]
    modules += ["deploy.local.gemini.app", "deploy.local.stripe.app"]
    env = {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    server = [sys.executable, "-m", "deploy.local.fork_server", *LIBRARIES, *COMMON]
    log = tmp_path / "server.log"
    command = Command(name="fork-server", argv=server, cwd=ROOT, env=env, log=log, port=0, url="")
    forks = ForkServer(command, RunFile(tmp_path / "run.json", os.getpid(), {}))
    found = []
    for module in modules:
        script = tmp_path / f"{module}.py"
        script.write_text(IMPORTS.format(root=str(ROOT), module=module))
        argv = [sys.executable, str(script)]
        log = tmp_path / f"{module}.log"
        program = Command(name=module, argv=argv, cwd=tmp_path, env=env, log=log, port=0, url="")
        code = await exit_code(await forks.start(program))
        assert code == 0, log.read_text()
        found.append(json.loads(log.read_text()))
    forks.stop()
    return found


async def test_the_fork_server_has_what_two_programs_use_and_no_code_of_one_alone(
    imported: list[dict[str, Any]],
) -> None:
    before = set(imported[0]["before"])
    users = Counter(
        library
        for program in imported
        for library in {
            name.partition(".")[0]
            for name, path in program["after"].items()
            if "site-packages" in str(path) and is_installed_for_make_run(name)
        }
    )

    assert {*LIBRARIES, *COMMON} <= before
    assert {library for library, count in users.items() if count > 1} - before == set()
    ours = {name for name in before if name.partition(".")[0] in OURS}
    assert {name for name in ours if not name.startswith("libs")} == {"deploy", "deploy.local"}
    assert "libs.common.testing" not in before


def test_every_library_is_there_after_an_installation_for_make_run() -> None:
    wanted = [name for name in LIBRARIES if name.partition(".")[0] not in sys.stdlib_module_names]

    assert [name for name in wanted if not is_installed_for_make_run(name)] == []


def is_installed_for_make_run(module: str) -> bool:
    packages = PACKAGES.get(module.partition(".")[0], [])
    return bool({each.lower().replace("_", "-") for each in packages} & INSTALLED)

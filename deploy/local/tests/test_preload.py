"""Whether the fork server imports what the programs share, and nothing of ours."""

import json
import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deploy.local.config import ROOT
from deploy.local.footprint import LOCK, locked
from deploy.local.forks import ForkServer
from deploy.local.preload import LIBRARIES
from deploy.local.process import Command
from deploy.local.run_file import RunFile
from deploy.local.supervisor import exit_code

IMPORTS = """
import json, sys
sys.path.insert(0, {root!r})
before = sorted(sys.modules)
import {modules}
after = {{name: getattr(module, "__file__", None) for name, module in sys.modules.items()}}
print(json.dumps({{"before": before, "after": after}}))
"""
PACKAGES = packages_distributions()
INSTALLED = locked(LOCK.read_text(encoding="utf-8"))
OURS = {"deploy", "libs", "services"}


@pytest.fixture
async def imported(tmp_path: Path) -> dict[str, dict[str, str]]:
    """What a forked program finds, and what it has after it imported all that is ours."""
    names = ("auth", "chat", "ai", "billing", "gateway")
    modules = [f"services.{name}.app" for name in names]
    modules += ["deploy.local.gemini.app", "deploy.local.stripe.app"]
    script = tmp_path / "imports.py"
    script.write_text(IMPORTS.format(root=str(ROOT), modules=", ".join(modules)))
    env = {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    server = [sys.executable, "-m", "deploy.local.fork_server", *LIBRARIES]
    log = tmp_path / "server.log"
    command = Command(name="fork-server", argv=server, cwd=ROOT, env=env, log=log, port=0, url="")
    forks = ForkServer(command, RunFile(tmp_path / "run.json", os.getpid(), {}))
    argv = [sys.executable, str(script)]
    log = tmp_path / "imports.log"
    program = Command(name="imports", argv=argv, cwd=tmp_path, env=env, log=log, port=0, url="")
    code = await exit_code(await forks.start(program))
    forks.stop()
    assert code == 0, log.read_text()
    found: dict[str, dict[str, str]] = json.loads(log.read_text())
    return found


async def test_the_fork_server_has_every_library_and_no_code_of_ours(
    imported: dict[str, dict[str, str]],
) -> None:
    before = set(imported["before"])
    later = {
        name.partition(".")[0]
        for name, path in imported["after"].items()
        if "site-packages" in str(path) and is_installed_for_make_run(name)
    }

    assert set(LIBRARIES) <= before
    assert later - before == set()
    assert {name for name in before if name.partition(".")[0] in OURS} == {"deploy", "deploy.local"}


def test_every_library_is_there_after_an_installation_for_make_run() -> None:
    wanted = [name for name in LIBRARIES if name.partition(".")[0] not in sys.stdlib_module_names]

    assert [name for name in wanted if not is_installed_for_make_run(name)] == []


def is_installed_for_make_run(module: str) -> bool:
    packages = PACKAGES.get(module.partition(".")[0], [])
    return bool({each.lower().replace("_", "-") for each in packages} & INSTALLED)

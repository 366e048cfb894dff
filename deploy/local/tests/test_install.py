"""The bootstrap, without installing anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import install

POLICY = "/usr/sbin/policy-rc.d"


def run_script(tmp_path: Path, apt_get: str) -> "subprocess.CompletedProcess[str]":
    """Run the installation of RabbitMQ with another apt-get and another policy file."""
    program = tmp_path / "apt-get"
    program.write_text(f"#!/bin/sh\n{apt_get}\n", encoding="utf-8")
    program.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-c", install.INSTALL_RABBITMQ.replace(POLICY, f"{tmp_path}/policy")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_node_is_started_by_the_package_and_no_trace_stays(tmp_path: Path) -> None:
    done = run_script(tmp_path, f"sh {tmp_path}/policy; echo policy says $? to $*")

    assert done.stdout.startswith("policy says 101 to install")
    assert not (tmp_path / "policy").exists()


def test_a_policy_of_the_machine_is_kept(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("exit 7\n", encoding="utf-8")

    assert run_script(tmp_path, "true").returncode == 0
    assert (tmp_path / "policy").read_text(encoding="utf-8") == "exit 7\n"


def test_the_package_lists_are_fetched_only_if_they_are_missing(tmp_path: Path) -> None:
    needs_lists = f'echo $1; test "$1" = update && touch {tmp_path}/lists; test -e {tmp_path}/lists'

    assert run_script(tmp_path, needs_lists).stdout.split() == ["install", "update", "install"]
    assert run_script(tmp_path, needs_lists).stdout.split() == ["install"]


def test_an_installation_that_fails_is_reported_and_leaves_no_policy(tmp_path: Path) -> None:
    assert run_script(tmp_path, "exit 100").returncode == 100
    assert not (tmp_path / "policy").exists()


def test_without_apt_one_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(install.InstallError, match="package rabbitmq-server"):
        install.root_prefix()


def test_a_changed_lock_is_not_installed_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(install, "REQUIREMENTS", tmp_path)
    (tmp_path / "local.txt").write_text("one==1\n", encoding="utf-8")
    assert not install.is_installed("local")

    (tmp_path / "installed-local").write_text(install.key("local"), encoding="utf-8")
    assert install.is_installed("local")

    (tmp_path / "local.txt").write_text("one==2\n", encoding="utf-8")
    assert not install.is_installed("local")

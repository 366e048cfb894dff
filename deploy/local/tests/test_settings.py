"""What the user asked for, and what the stack makes of it; no server is started."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import home
from deploy.local.config import ROOT, Config, ConfigError, read_config
from deploy.local.leftovers import end_leftover, is_alive, started_at
from deploy.local.passwords import Passwords
from deploy.local.port_plan import plan_ports
from deploy.local.process import Command
from deploy.local.run_file import RunFile, end_leftovers
from deploy.local.stack import Programs, Stack
from tests.ports import free_port

PORT = free_port(130)


def config(base: Path, **values: str) -> Config:
    (base / "home").mkdir(exist_ok=True)
    return read_config(
        {"THOUGHTFLOW_HOME": str(base / "home"), "THOUGHTFLOW_PORT": str(PORT), **values},
        base / ".env",
    )


def stack(config: Config) -> Stack:
    ports, _ = plan_ports(config)
    return Stack(config, ports, Passwords(config.home), Programs())


def environment(config: Config, name: str) -> dict[str, str]:
    return next(dict(c.env) for c in stack(config).services() if c.name == name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATS", "0"),
        ("CHATS", "many"),
        ("AIS", "-1"),
        ("THOUGHTFLOW_PORT", "80"),
        ("THOUGHTFLOW_PORT", "40000"),
        ("THOUGHTFLOW_PORT", "²"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused_by_name(base: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .* must be a number from"):
        config(base, **{name: value})


@pytest.mark.parametrize(
    ("values", "emulators"),
    [
        ({}, ["gemini", "stripe"]),
        ({"GEMINI_API_KEY": ""}, ["gemini", "stripe"]),
        ({"GEMINI_API_KEY": "mine"}, ["stripe"]),
        ({"GEMINI_BASE_URL": "http://127.0.0.1:1"}, ["stripe"]),
        ({"STRIPE_SECRET_KEY": "sk_test_mine"}, ["gemini"]),
        ({"STRIPE_API_BASE": "http://127.0.0.1:1", "GEMINI_API_KEY": "mine"}, []),
    ],
)
def test_only_what_has_no_key_is_emulated(
    base: Path, values: dict[str, str], emulators: list[str]
) -> None:
    assert [c.name for c in stack(config(base, **values)).emulators()] == emulators


def test_a_key_reaches_the_services_unchanged(base: Path) -> None:
    (base / ".env").write_text("GEMINI_API_KEY=from-file\nOTP_TTL_S=60\nLOG_LEVEL=\n")
    given = config(base, OTP_TTL_S="90", STRIPE_WEBHOOK_SECRET="whsec_mine")

    ai = environment(given, "ai")
    assert (ai["GEMINI_API_KEY"], "GEMINI_BASE_URL" in ai) == ("from-file", False)
    assert environment(given, "auth")["OTP_TTL_S"] == "90"
    assert environment(given, "auth")["LOG_LEVEL"] == "INFO"
    assert environment(given, "billing")["STRIPE_WEBHOOK_SECRET"] == "whsec_mine"
    assert stack(given).emulators()[0].env["STRIPE_WEBHOOK_SECRET"] == "whsec_mine"


def test_the_stripe_emulator_signs_with_the_secret_that_billing_expects(base: Path) -> None:
    given = config(base)
    emulator = stack(given).emulators()[1]

    assert emulator.env["STRIPE_WEBHOOK_SECRET"].startswith("whsec_")
    assert (
        emulator.env["STRIPE_WEBHOOK_SECRET"]
        == (environment(given, "billing")["STRIPE_WEBHOOK_SECRET"])
    )


def test_what_nobody_filled_in_counts_as_unset(base: Path) -> None:
    shutil.copy(ROOT / ".env.example", base / ".env")
    made = stack(config(base, AUTH_SECRET="change-me"))

    assert [c.name for c in made.emulators()] == ["gemini", "stripe"]
    assert environment(made.config, "billing")["STRIPE_PRO_PRICE_ID"] == "price_pro_monthly"
    for command in [*made.emulators(), *made.services(), *made.migrations()]:
        assert not [name for name, value in command.env.items() if "change-me" in value]
        assert command.env["OTP_SENDER"] == "mock"  # a line of the file that is an answer


@pytest.mark.parametrize("value", ["i-did-change-me", "sk_test_exchange-me"])
def test_a_secret_that_only_resembles_a_placeholder_is_one(base: Path, value: str) -> None:
    assert environment(config(base, STRIPE_SECRET_KEY=value), "billing")["STRIPE_SECRET_KEY"] == (
        value
    )


def test_no_command_line_holds_a_secret(base: Path) -> None:
    mine = {"AUTH_SECRET": "my-auth-secret", "STRIPE_WEBHOOK_SECRET": "whsec_mine"}
    keys = {"GEMINI_API_KEY": "my-gemini-key"}
    for values in (mine, mine | keys, keys | {"STRIPE_SECRET_KEY": "sk_test_mine"}, {}):
        given = config(base, **values)
        made = stack(given)
        commands = [*made.emulators(), *made.services(), *made.migrations()]
        commands += [made.database_accounts(), made.broker_accounts(), made.fork_server()]
        for server in (made.postgres, made.valkey, made.rabbitmq):
            commands += server.commands()
        kept = json.loads((given.home / "secrets.json").read_text(encoding="utf-8"))
        secrets = [*kept.values(), *values.values()]

        assert len(kept) > 10
        for command in commands:
            line = " ".join([*command.wrapped(), command.url])
            assert not [secret for secret in secrets if secret in line], command.name


def test_the_private_servers_win_over_urls_that_are_set(base: Path) -> None:
    chat = environment(config(base, DATABASE_URL="postgresql://prod/", PORT="1"), "chat")

    assert chat["DATABASE_URL"].startswith("postgresql://chat:")
    assert chat["DATABASE_URL"].endswith(f"@127.0.0.1:{PORT + 10}/thoughtflow")
    assert chat["PORT"] == str(PORT + 2)


def test_the_gateway_knows_every_replica_and_no_database(base: Path) -> None:
    gateway = environment(config(base, CHATS="3", GATEWAYS="2"), "gateway-2")

    assert gateway["CHAT_URL"] == (
        f"http://127.0.0.1:{PORT + 2},http://127.0.0.1:{PORT + 50},http://127.0.0.1:{PORT + 51}"
    )
    assert gateway["AI_URL"] == f"http://127.0.0.1:{PORT + 3}"
    assert "DATABASE_URL" not in gateway


def test_no_two_services_share_a_password(base: Path) -> None:
    made = stack(config(base))
    passwords = [*made.database_passwords().values(), *made.broker_passwords().values()]

    assert len(set(passwords)) == 4 + 5
    assert stack(config(base)).broker_passwords() == made.broker_passwords()
    assert stat.S_IMODE((base / "home/secrets.json").stat().st_mode) == 0o600


def test_a_taken_port_is_left_to_its_owner_and_the_choice_remembered(base: Path) -> None:
    given = config(base)
    with socket.create_server(("127.0.0.1", PORT + 2)):
        ports, moved = plan_ports(given)
    again, still_moved = plan_ports(given)

    assert (ports["chat"], moved) == (PORT + 100, ["chat"])
    assert (again["chat"], still_moved) == (PORT + 100, ["chat"])
    assert ports["ai"] == PORT + 3


def test_two_names_never_get_one_port(base: Path) -> None:
    given = config(base)
    with socket.create_server(("127.0.0.1", PORT + 4)):
        plan_ports(given)
    with socket.create_server(("127.0.0.1", PORT + 1)):
        ports, _ = plan_ports(given)

    assert len(set(ports.values())) == len(ports)


def test_a_leftover_is_ended_and_a_reused_pid_is_not(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleep) as leftover, subprocess.Popen(sleep) as stranger:
        ticks = started_at(leftover.pid)
        assert ticks is not None
        assert is_alive(leftover.pid, ticks)

        assert not end_leftover(stranger.pid, ticks - 1)
        assert stranger.poll() is None
        assert end_leftover(leftover.pid, ticks)
        assert leftover.wait() != 0
        stranger.kill()


def test_the_run_file_leads_to_what_was_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as leftover:
        command = Command(
            name="chat", argv=["chat"], cwd=tmp_path, env={}, log=tmp_path, port=1, url=""
        )
        RunFile(tmp_path / "run.json", os.getpid(), {}).started(command, leftover.pid)

        assert end_leftovers(tmp_path / "run.json") == ["chat"]

    assert not (tmp_path / "run.json").exists()


def test_a_home_belongs_to_one_launcher(base: Path) -> None:
    given = config(base)
    lock = home.take_home(given)
    RunFile(home.run_path(given.home), os.getpid(), {"gateway": "http://here"})._write()

    with pytest.raises(home.HomeInUseError, match=f"pid {os.getpid()}, http://here"):
        home.take_home(given)

    lock.close()
    home.take_home(given).close()


def test_deleting_a_home_leaves_what_others_put_there(base: Path) -> None:
    (base / "logs").mkdir()
    (base / "secrets.json").touch()
    (base / "letter.txt").touch()

    home.delete(base)

    assert [path.name for path in base.iterdir()] == ["letter.txt"]

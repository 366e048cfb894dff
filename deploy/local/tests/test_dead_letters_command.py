"""The command line of `make dead-letters`, and what it prints."""

import io
import sys
from pathlib import Path

import pytest
from aio_pika.abc import AbstractChannel

from deploy.local.dead_letters import parse
from deploy.local.tests.burial import IDS, Command, bury, in_a_process, remaining

pytestmark = pytest.mark.integration


async def test_without_letters_it_says_so(channel: AbstractChannel, command: Command) -> None:
    assert await command("list") == (0, "No dead letters.\n")
    assert await command() == (0, "No dead letters.\n")
    assert await command("replay", "--all") == (0, "No dead letters.\n")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"title": "Grüße"}'.encode(), '{\n  "title": "Grüße"\n}'),
        ('{"title": "\x9b2J"}'.encode(), '"\\x9b2J"'),
        (b"\x1b[2J no json", "Not JSON: b'\\x1b[2J no json'"),
    ],
)
async def test_a_letter_is_shown_with_a_warning_and_cannot_control_the_terminal(
    channel: AbstractChannel, command: Command, body: bytes, shown: str
) -> None:
    await bury(channel, IDS[:1], body=body)

    code, out = await command("show", IDS[0])

    assert code == 0
    assert "The body may hold what a user wrote" in out
    assert "traceparent: 00-ab-cd-01" in out
    assert shown in out
    assert await remaining(channel) == IDS[:1]


@pytest.mark.parametrize(
    ("answer", "options", "code", "left"),
    [
        ("y\n", (), 0, [IDS[0], IDS[2]]),
        ("\n", (), 1, IDS[:3]),
        ("", (), 1, IDS[:3]),
        ("", ("--yes",), 0, [IDS[0], IDS[2]]),
    ],
)
async def test_a_letter_is_discarded_only_after_a_yes(
    channel: AbstractChannel,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    options: tuple[str, ...],
    code: int,
    left: list[str],
) -> None:
    await bury(channel, IDS[:3])
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))

    assert (await command("discard", IDS[1], *options))[0] == code
    assert await remaining(channel) == left


@pytest.mark.parametrize(
    "arguments", [["shred"], ["show"], ["replay"], ["replay", "id", "--all"], ["discard"]]
)
def test_a_command_line_without_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(arguments)

    assert refusal.value.code == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://me:hidden@127.0.0.1:1/", "RabbitMQ at 127.0.0.1:1 cannot be reached"),
        ("http://me:hidden@127.0.0.1/", "must look like amqp://user:password@host:port/"),
        ("amqp://me:hidden@127.0.0.1:port/", "must look like amqp://user:password@host:port/"),
        ("login", "refuses the login"),
        ("vhost", "cannot be reached or went away"),
    ],
)
async def test_a_broker_that_cannot_be_used_is_a_clear_error_without_the_password(
    rabbitmq_url: str, url: str, words: str
) -> None:
    address = rabbitmq_url.rpartition("@")[2]
    url = {"login": f"amqp://me:hidden@{address}", "vhost": f"{rabbitmq_url}none"}.get(url, url)

    result = await in_a_process(["-m", "deploy.local", "dead-letters"], url)

    assert (result.returncode, result.stderr) == (1, "")
    assert words in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert "hidden" not in result.stdout


async def test_the_command_line_reaches_the_broker_it_names(
    channel: AbstractChannel, rabbitmq_url: str
) -> None:
    await bury(channel, IDS)
    arguments = ["-m", "deploy.local", "dead-letters", "list", "--url", rabbitmq_url]

    result = await in_a_process(arguments, "amqp://127.0.0.1:1/")

    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1 + len(IDS)


async def test_without_a_url_it_asks_the_stack_of_the_home(base: Path) -> None:
    result = await in_a_process(["-m", "deploy.local", "dead-letters"], "", home=base)

    assert result.returncode == 1
    assert f"Nothing runs in {base}. Start it: make run" in result.stdout

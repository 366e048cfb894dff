"""What `check` says while all is well, and of each thing that is broken."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import asyncpg
import httpx2
import pytest
from aio_pika.abc import AbstractChannel

from libs.common import checks, topology
from libs.common.broker import make_brokers
from libs.common.db import Connection
from libs.common.settings import CommonSettings

pytestmark = pytest.mark.integration
NOWHERE = "127.0.0.1:1"
KEYS = b'{"keys": []}'


@pytest.fixture
async def jwks() -> AsyncIterator[str]:
    """A server that answers anything with a set of keys."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = f"content-length: {len(KEYS)}\r\nconnection: close\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + length.encode() + KEYS)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()
    await server.wait_closed()


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel to a broker with the whole topology, before and after the test."""
    brokers = make_brokers(rabbitmq_url, service="chat", prefetch=1)
    await brokers.publish.start()
    await topology.declare(brokers.publish)
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(topology.DEAD_LETTERS.name)).purge()
        yield channel
        await (await channel.get_queue(topology.DEAD_LETTERS.name)).purge()
    await brokers.publish.stop()


@pytest.fixture
async def given(
    database_urls: dict[str, str],
    rabbitmq_url: str,
    redis_url: str,
    jwks: str,
    channel: AbstractChannel,
) -> dict[str, Any]:
    """Settings with which nothing is wrong."""
    return {
        "_env_file": None,
        "environment": "development",
        "database_url": database_urls["chat"],
        "rabbitmq_url": rabbitmq_url,
        "redis_url": redis_url,
        "jwks_url": jwks,
    }


@pytest.fixture
async def schema_conn(database_urls: dict[str, str]) -> AsyncIterator[Connection]:
    """A connection to chat's schema, whose notes on migrations are put right afterwards."""
    conn = await asyncpg.connect(database_urls["chat"])
    notes = [tuple(row) for row in await conn.fetch("SELECT * FROM schema_migration")]
    yield conn
    await conn.execute("DELETE FROM schema_migration")
    await conn.executemany("INSERT INTO schema_migration VALUES ($1, $2, $3)", notes)
    await conn.close()


async def problems(
    capsys: pytest.CaptureFixture[str], given: dict[str, Any], **changed: str
) -> list[str]:
    """Return the lines of the problems; the exit code says the same."""
    capsys.readouterr()
    code = await checks.report("chat", CommonSettings(**{**given, **changed}))
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith("problem")]
    assert all(line.startswith(("ok ", "problem ")) for line in lines)
    assert code == bool(found)
    return found


async def test_nothing_is_wrong_where_all_is_well(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await checks.report("chat", CommonSettings(**given)) == 0

    names = [line[9:21].strip() for line in capsys.readouterr().out.splitlines()]
    assert names == [
        *("settings", "postgres", "clock", "migrations"),
        *("rabbitmq", "topology", "dead letters", "valkey", "jwks"),
    ]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("database_url", f"postgresql://chat:hidden@{NOWHERE}/x", "postgres     chat at"),
        ("rabbitmq_url", f"amqp://chat:hidden@{NOWHERE}/", "rabbitmq     chat at"),
        ("redis_url", f"redis://:hidden@{NOWHERE}/0", f"valkey       {NOWHERE}"),
        ("jwks_url", f"http://{NOWHERE}/", f"jwks         {NOWHERE}"),
    ],
)
async def test_a_server_that_is_away_is_one_problem_without_its_password(
    given: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    setting: str,
    value: str,
    words: str,
) -> None:
    (problem,) = await problems(capsys, given, **{setting: value})

    assert words in problem
    assert "hidden" not in problem


async def test_a_refused_login_is_a_problem(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    urls = {name: given[name] for name in ("database_url", "rabbitmq_url")}
    wrong = {name: url.replace("only-for-tests", "another") for name, url in urls.items()}

    found = await problems(capsys, given, **wrong)

    assert [line.split()[1] for line in found] == ["postgres", "rabbitmq"]


@pytest.mark.parametrize(("skew_s", "is_bad"), [(4.0, False), (7.0, True), (-7.0, True)])
async def test_a_clock_that_is_off_is_a_problem(
    given: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    skew_s: float,
    is_bad: bool,
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew_s)

    assert [line.split()[1] for line in await problems(capsys, given)] == ["clock"] * is_bad


def test_an_answer_tells_its_servers_clock() -> None:
    late = httpx2.Response(200, headers={"date": "Thu, 01 Jan 1970 00:00:10 GMT"})

    assert checks.skew_of(late) == pytest.approx(10 - time.time(), abs=1)
    assert checks.skew_of(httpx2.Response(200)) is None


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM schema_migration WHERE name = '0004_quotas.sql'", "not applied: 0004_quotas"),
        (
            "UPDATE schema_migration SET sha256 = 'x' WHERE name ~ '^R_quota'",
            "not applied: R_quota",
        ),
        (
            "UPDATE schema_migration SET sha256 = 'x' WHERE name ~ '^0004'",
            "another text: 0004_quot",
        ),
        ("INSERT INTO schema_migration VALUES ('9999_later.sql', 'x')", "not ours: 9999_later.sql"),
    ],
)
async def test_a_schema_of_another_release_is_a_problem(
    given: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    schema_conn: Connection,
    statement: str,
    words: str,
) -> None:
    await schema_conn.execute(statement)

    (problem,) = await problems(capsys, given)

    assert words in problem


async def test_a_queue_that_is_missing_or_has_other_arguments_is_a_problem(
    given: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    channel: AbstractChannel,
) -> None:
    gone, other = (f"thoughtflow.delay.{seconds}s" for seconds in topology.DELAYS_S[:2])
    for name in (gone, other):
        await channel.queue_delete(name)
    await channel.declare_queue(other, durable=True, arguments={"x-queue-type": "quorum"})
    try:
        found = await problems(capsys, given)
    finally:
        await channel.queue_delete(other)
        await _declare(given["rabbitmq_url"])

    assert [line.partition(": ")[2].partition(". ")[0] for line in found] == [gone, other]
    assert await problems(capsys, given) == []


async def _declare(url: str) -> None:
    brokers = make_brokers(url, service="chat", prefetch=1)
    await brokers.publish.start()
    await topology.declare(brokers.publish)
    await brokers.publish.stop()


async def test_a_dead_letter_is_a_problem(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str], channel: AbstractChannel
) -> None:
    dead = await channel.get_exchange(topology.DEAD.name)
    await dead.publish(aio_pika.Message(b"{}"), "chat.none")

    (problem,) = await problems(capsys, given)

    assert "dead letters 1. See what failed for good: make dead-letters" in problem

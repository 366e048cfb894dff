"""`python -m services.<name> check`: whether all that a service needs is there and as it should be.

It changes nothing, so it may run at any time, next to a service that runs or that does not start.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import httpx2
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.db import Connection
from libs.common.identity import LEEWAY_S
from libs.common.migrate import compare
from libs.common.settings import BaseServiceSettings, CommonSettings
from libs.common.topology import DEAD_LETTERS, queues

TIMEOUT_S = 5.0
MAX_SKEW_S = float(LEEWAY_S)
"""Seconds by which clocks may differ; tokens of one that is further off are refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        name: of what was looked at.
        text: what was found.
        remedy: what to do about it; empty where nothing is wrong.
    """

    name: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return it for people."""
        state = "problem" if self.remedy else "ok"
        return f"{state:<8} {self.name:<12} {self.text}" + (self.remedy and f". {self.remedy}")


Findings = AsyncIterator[Finding]


async def report(
    name: str, settings: BaseServiceSettings, more: Callable[[Any], Findings] | None = None
) -> int:
    """Print a line for each finding; return 1 if one is a problem.

    Args:
        name: of the service.
        settings: its own, which are fine, as they could be read.
        more: looks at what only this service needs, if there is such.
    """
    print(Finding("settings", f"valid, for {settings.environment}").line())  # noqa: T201
    problems = 0
    for part in (_common(name, settings), *([more(settings)] if more else [])):
        async for finding in part:
            print(finding.line(), flush=True)  # noqa: T201
            problems += bool(finding.remedy)
    return 1 if problems else 0


async def fetch(name: str, url: str, headers: dict[str, str]) -> httpx2.Response | Finding:
    """Return what is at `url`, or the finding that nobody answers there."""
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            return await http.get(url, headers=headers)
    except (httpx2.HTTPError, OSError) as problem:
        return Finding(
            name,
            f"{place(url)} does not answer ({type(problem).__name__})",
            "Is it running, and does the network let us through?",
        )


def clock(name: str, skew_s: float) -> Finding:
    """Return what a difference between our clock and another means.

    Args:
        name: of the finding.
        skew_s: seconds that the other is ahead.
    """
    if abs(skew_s) <= MAX_SKEW_S:
        return Finding(name, f"{skew_s:+.1f} s")
    text = f"{skew_s:+.1f} s against this machine's, more than {MAX_SKEW_S:g}"
    return Finding(name, text, "Have both follow the same time servers (NTP)")


def skew_of(response: httpx2.Response) -> float | None:
    """Return the seconds that the answering server's clock is ahead, none if it does not tell."""
    date = response.headers.get("date")
    return parsedate_to_datetime(date).timestamp() - time.time() if date else None


def place(url: str) -> str:
    """Return a URL's host and port, without the password that it may hold."""
    return urlsplit(url).netloc.rpartition("@")[2]


async def _common(name: str, settings: BaseServiceSettings) -> Findings:
    if isinstance(settings, CommonSettings):
        async for finding in _database(name, settings.database_url):
            yield finding
    rabbitmq_url = getattr(settings, "rabbitmq_url", "")
    async for finding in _broker(rabbitmq_url):
        yield finding
    yield await _redis(settings.redis_url)
    yield await _jwks(settings.jwks_url)


async def _database(name: str, url: str) -> Findings:
    where = f"{urlsplit(url).username} at {place(url)}"
    try:
        conn = await asyncpg.connect(url, timeout=TIMEOUT_S, server_settings={"search_path": name})
    except (OSError, asyncpg.PostgresError) as problem:
        yield Finding(
            "postgres",
            f"{where} cannot be used ({type(problem).__name__})",
            "Start PostgreSQL, or mend DATABASE_URL",
        )
        return
    try:
        yield Finding("postgres", where)
        yield await _clock_of(conn)
        yield await _migrations(conn, name)
    finally:
        await conn.close()


async def _clock_of(conn: Connection) -> Finding:
    before = time.time()
    theirs = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    return clock("clock", theirs - (before + time.time()) / 2)


async def _migrations(conn: Connection, name: str) -> Finding:
    state = await compare(conn, own=Path("services") / name / "migrations")
    if state.edited:
        return Finding(
            "migrations",
            f"applied with another text: {', '.join(state.edited)}",
            "Never edit a file that was applied: restore it, and write a new one",
        )
    if state.pending:
        return Finding(
            "migrations",
            f"not applied: {', '.join(state.pending)}",
            f"Run: python -m services.{name} migrate",
        )
    if state.unknown:
        return Finding(
            "migrations",
            f"not ours: {', '.join(state.unknown)}",
            "A newer release has been here: run that one",
        )
    return Finding("migrations", "all applied")


async def _broker(url: str) -> Findings:
    where = f"{urlsplit(url).username} at {place(url)}"
    try:
        connection = await aio_pika.connect(url, timeout=TIMEOUT_S)
    except (AMQPError, OSError) as problem:
        yield Finding(
            "rabbitmq",
            f"{where} cannot be used ({type(problem).__name__})",
            "Start RabbitMQ, or mend RABBITMQ_URL",
        )
        return
    async with connection:
        yield Finding("rabbitmq", where)
        missing, different = await _look_at_queues(connection)
        if missing:
            text, remedy = f"missing: {', '.join(missing)}", "Start a service: it declares them"
            yield Finding("topology", text, remedy)
        if different:
            remedy = "Delete them once they are empty, and start a service: it declares them anew"
            yield Finding("topology", f"with other arguments: {', '.join(different)}", remedy)
        if not missing and not different:
            yield Finding("topology", f"{len(queues())} queues as they should be")
        if DEAD_LETTERS.name not in missing:
            yield await _dead_letters(connection)


async def _look_at_queues(connection: AbstractConnection) -> tuple[list[str], list[str]]:
    """Return the queues that are missing, and those that have other arguments than ours."""
    missing, different = [], []
    for queue in queues():
        arguments: Any = queue.arguments
        # RabbitMQ closes the channel where it has to say no.
        async with connection.channel() as channel:
            try:
                await channel.declare_queue(queue.name, passive=True)
                await channel.declare_queue(queue.name, durable=True, arguments=arguments)
            except ChannelNotFoundEntity:
                missing.append(queue.name)
            except ChannelPreconditionFailed:
                different.append(queue.name)
    return missing, different


async def _dead_letters(connection: AbstractConnection) -> Finding:
    async with connection.channel() as channel:
        queue = await channel.declare_queue(DEAD_LETTERS.name, passive=True)
        count = queue.declaration_result.message_count or 0
    if count:
        return Finding("dead letters", str(count), "See what failed for good: make dead-letters")
    return Finding("dead letters", "none")


async def _redis(url: str) -> Finding:
    redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        await redis.ping()
    except (RedisError, OSError) as problem:
        text = f"{place(url)} cannot be used ({type(problem).__name__})"
        return Finding("valkey", text, "Start Valkey or Redis, or mend REDIS_URL")
    finally:
        await redis.aclose()
    return Finding("valkey", place(url))


async def _jwks(url: str) -> Finding:
    answer = await fetch("jwks", url, {})
    if isinstance(answer, Finding):
        return answer
    if answer.status_code == 200 and '"keys"' in answer.text:
        return Finding("jwks", place(url))
    text = f"{place(url)} answers {answer.status_code} and no keys"
    return Finding("jwks", text, "Start auth, or mend JWKS_URL")


def run(name: str, settings: BaseServiceSettings, more: Callable[[Any], Findings] | None) -> int:
    """Run `report` to its end and return its exit code."""
    logging.disable()  # what libraries log is said here in our words
    return asyncio.run(report(name, settings, more))

import asyncio
import signal
from contextlib import suppress

import httpx2
import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError

from libs.common.http import PROBE_TIMEOUT_S
from libs.common.testing import eventually
from tests.e2e.crowd import Crowd
from tests.e2e.person import Person, reading
from tests.e2e.stack import LIMIT, Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]
PATIENCE_S = 2.0
"""Seconds within which everything is answered while a server is away."""


async def test_while_rabbitmq_is_down_posts_and_reads_are_answered(
    crowd: Crowd, stack: Stack, person: Person
) -> None:
    """F3: down for 10 s."""
    await crowd.start(posts=None)
    await crowd.in_the_middle()

    async with reading(person, await person.room()) as reads:
        await stack.hold_down("rabbitmq", 10)
    await crowd.settle()

    posts = [answer for each in crowd.people for answer in each.posted]
    assert {status for status, _ in posts} <= {202, 503}
    assert {status for status, _ in reads} == {200}
    assert max(took_s for _, took_s in posts + reads) < PATIENCE_S


async def test_two_seconds_after_a_crash_of_postgresql_everything_answers_again(
    crowd: Crowd, stack: Stack
) -> None:
    """F4: 0 of 80 requests fail."""
    await crowd.start(posts=None)
    await crowd.in_the_middle()

    crashed = stack.signal(signal.SIGQUIT, "postgres")  # an immediate shutdown
    await stack.replaced(crashed)
    await asyncio.sleep(2)
    paths = [(talk.person, f"/chatroom/{talk.room}/message") for talk in crowd.talks]
    paths += [(talk.person, "/chatroom") for talk in crowd.talks]
    answers = await asyncio.gather(*(each.http.get(path) for each, path in paths))
    await crowd.settle()

    assert [answer.status_code for answer in answers] == [200] * 80


async def flushed(url: str) -> bool:
    async with Redis.from_url(url) as redis:
        with suppress(BusyLoadingError):
            return bool(await redis.flushall())
    return False


async def test_without_valkey_reads_go_on_and_the_quota_stays_exact(
    crowd: Crowd, stack: Stack, person: Person, stranger: Person
) -> None:
    """F5: away for 5 s, then back and empty; `stranger` is on Basic."""
    room = await stranger.room()
    await crowd.start(posts=None)
    await crowd.in_the_middle()

    async with reading(person, await person.room()) as reads:
        down = asyncio.create_task(stack.hold_down("valkey", 5))
        await asyncio.sleep(1)
        posts = await asyncio.gather(*(stranger.post(room, f"m{i}") for i in range(LIMIT + 3)))
        await down
        await eventually(lambda: flushed(stack.url("valkey")), within_s=10)
        posts.append(await stranger.post(room, "and now?"))
    await crowd.settle()

    assert sorted(post.status_code for post in posts) == [202] * LIMIT + [429] * 4
    assert {status for status, _ in reads} == {200}
    assert max(took_s for _, took_s in reads) < PATIENCE_S
    messages = await stranger.ended(room)
    assert [each["status"] for each in messages] == ["completed"] * 2 * LIMIT


async def missed_by_services(stack: Stack) -> set[tuple[int, tuple[str, ...]]]:
    """Return what services say of their readiness: the status, and what does not answer them."""
    urls = [each["url"] for each in stack.processes("auth", "chat", "ai", "billing")]
    async with httpx2.AsyncClient(verify=False, timeout=PROBE_TIMEOUT_S + 1) as http:
        answers = await asyncio.gather(*(http.get(f"{url}/health/ready") for url in urls))
    return {
        (
            answer.status_code,
            tuple(name for name, good in answer.json()["checks"].items() if not good),
        )
        for answer in answers
    }


@pytest.mark.parametrize(
    ("server", "missed"),
    [("rabbitmq", (503, ("rabbitmq",))), ("postgres", (503, ("postgres",))), ("valkey", (200, ()))],
)
async def test_a_server_that_hangs_for_15_s_loses_nothing_and_readiness_names_it(
    crowd: Crowd, stack: Stack, server: str, missed: tuple[int, tuple[str, ...]]
) -> None:
    """F7, O1: its sockets stay open, and nothing comes."""
    await crowd.start(posts=None)
    await crowd.in_the_middle()

    with stack.frozen(server):
        said = await missed_by_services(stack)
        await asyncio.sleep(15)
    await crowd.settle(within_s=30)

    assert said == {missed}


@pytest.mark.parametrize("supervisor", ["survives", "dies too"])
async def test_after_a_power_cut_everything_is_answered(
    crowd: Crowd, stack: Stack, supervisor: str
) -> None:
    """F8: all start at once after it, or the servers first."""
    await crowd.start(posts=None)
    await crowd.in_the_middle()

    if supervisor == "survives":
        await stack.replaced(stack.kill())
    else:
        stack.cut_power()
        stack.start()
        await stack.ready()
    await crowd.settle(within_s=30)

import asyncio
import os
import signal
import time

import pytest

from tests.e2e.crowd import Crowd
from tests.e2e.person import Person, View, reading
from tests.e2e.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]
GRACE_S = 30
"""Seconds that Kubernetes gives a process to end."""

LONG = "Please count to 999."
LONG_REPLY = ", ".join(map(str, range(1, 1000))) + "."


async def end_and_replace(stack: Stack, *names: str) -> float:
    """Have processes end by themselves; return after how many seconds the last of them has."""
    started = time.monotonic()
    victims = {each["name"]: each["pid"] for each in stack.processes() if each["name"] in names}
    for pid in victims.values():
        os.kill(pid, signal.SIGTERM)
    await stack.gone(victims, within_s=2 * GRACE_S)
    took_s = time.monotonic() - started
    await stack.replaced(victims)
    return took_s


async def test_a_rolling_restart_under_load_loses_nothing(
    crowd: Crowd, stack: Stack, person: Person
) -> None:
    """F2: one replica of each service after the other; viewers go on at another gateway."""
    room = await person.room()
    long = View((await person.post(room, LONG)).json()["stream_url"])
    viewing = asyncio.create_task(long.read_to_the_end(person))
    await crowd.start(posts=None)

    took_s = [
        await end_and_replace(stack, "gateway", "chat", "ai", "auth", "billing"),
        await end_and_replace(stack, "gateway-2", "chat-2", "ai-2"),
        await end_and_replace(stack, "gateway-3", "ai-3"),
    ]
    await crowd.settle()

    assert max(took_s) < GRACE_S
    assert crowd.cuts > 0
    await viewing
    assert long.text == LONG_REPLY


async def test_migrations_run_on_the_living_system_and_nobody_notices(
    crowd: Crowd, stack: Stack, person: Person
) -> None:
    """F9: all of them, twice."""
    await crowd.start(posts=None)

    async with reading(person, await person.room()) as reads:
        for _ in range(2):
            services = ("auth", "chat", "ai", "billing")
            await asyncio.gather(*(stack.migrate(service) for service in services))
    await crowd.settle()

    assert {status for status, _ in reads} == {200}
    assert max(took_s for _, took_s in reads) < 2

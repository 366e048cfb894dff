"""`make doctor` on the whole system; each service's own checks are tested next to them."""

import asyncio

import aio_pika
import pytest

from libs.common.events import UserDeleted
from libs.common.topology import EVENTS, queue
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("stack", ["single"], indirect=True)]


async def examined(stack: Stack) -> tuple[int, list[str]]:
    """Return the exit code, and the lines that tell of a problem."""
    code, said = await asyncio.to_thread(stack.command, "doctor")
    return code, [line for line in said.splitlines() if line[9:].startswith("problem")]


async def test_every_service_and_process_is_looked_at_and_nothing_is_wrong(stack: Stack) -> None:
    code, said = await asyncio.to_thread(stack.command, "doctor")

    assert code == 0, said
    lines = said.splitlines()
    looked_at = [line.split()[0] for line in lines[:-1]]
    assert {"stack", "auth", "chat", "ai", "billing", "gateway"} == set(looked_at)
    for process in stack.processes():
        assert any(line.split()[2] == process["name"] for line in lines if line[:5] == "stack")
    assert lines[-1] == "All is well."


async def test_a_binding_that_is_gone_is_a_problem(stack: Stack) -> None:
    lost = queue("billing", UserDeleted)
    async with await aio_pika.connect(stack.url("rabbitmq")) as connection:
        channel = await connection.channel()
        bound = await channel.get_queue(lost.name)
        await bound.unbind(EVENTS.name, lost.routing_key)
        try:
            code, found = await examined(stack)
        finally:
            await bound.bind(EVENTS.name, lost.routing_key)

    (problem,) = found
    assert (code, f"missing: {lost.name} to {EVENTS.name}" in problem) == (1, True), problem


async def test_a_server_that_hangs_is_a_problem_of_all_who_use_it(stack: Stack) -> None:
    with stack.frozen("postgres"):
        code, found = await examined(stack)
    await stack.ready()

    assert code == 1
    told = {line.split()[0] for line in found if line.split()[2] == "postgres"}
    assert told == {"auth", "chat", "ai", "billing"}, found

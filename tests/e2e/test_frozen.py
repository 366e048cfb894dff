from pathlib import Path
from typing import Any

import pytest

from libs.common.testing import eventually
from tests.e2e.crowd import Crowd
from tests.e2e.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]


def log_of(process: dict[str, Any]) -> bytes:
    return Path(process["log"]).read_bytes()


@pytest.mark.parametrize("service", ["ai", "chat"])
async def test_what_a_frozen_process_did_others_do_and_it_does_not_do_it_again(
    crowd: Crowd, stack: Stack, service: str
) -> None:
    """F6: it sleeps, its connections open, until others have done all its work; then it wakes."""
    await crowd.start()
    await crowd.in_the_middle()

    (victim,) = (each for each in stack.processes(service) if each["name"] == service)
    with stack.frozen(service):
        await crowd.settle()
        restarted = await crowd.restarted()
        asleep = log_of(victim)
    await stack.ready()

    assert victim in stack.processes(service)
    assert restarted >= (1 if service == "ai" else 0)

    async def has_ended_a_delivery() -> bool:
        return b"delivery" in log_of(victim).removeprefix(asleep)

    if service == "ai":  # a delivery of chat's takes milliseconds: it may have been in none
        await eventually(has_ended_a_delivery, within_s=20)
    await crowd.check()

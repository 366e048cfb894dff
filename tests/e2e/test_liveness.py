"""What the probes of an orchestrator see while a server is away."""

import asyncio

import httpx2
import pytest

from libs.common.testing import eventually
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
DEPENDENT = {
    "postgres": {"auth", "chat", "ai", "billing"},
    "rabbitmq": {"auth", "chat", "ai", "billing"},
    "valkey": set[str](),  # all that must go on, goes on without it
}


@pytest.mark.parametrize("stack", ["single"], indirect=True)
@pytest.mark.parametrize("server", DEPENDENT)
async def test_a_process_whose_server_is_away_is_alive_and_says_whether_it_is_ready(
    stack: Stack, server: str
) -> None:
    """O1: what restarts the dead restarts nothing, and what routes to the ready waits."""
    urls = {each["name"]: each["url"] for each in stack.processes() if _is_service(each["name"])}
    assert len(urls) == 5

    async with httpx2.AsyncClient(timeout=5) as http:

        async def ready() -> dict[str, bool]:
            answers = {name: await http.get(f"{url}/health/ready") for name, url in urls.items()}
            return {name: answer.status_code == 200 for name, answer in answers.items()}

        async def are(expected: set[str]) -> bool:
            found = await ready()
            return {name for name, is_ready in found.items() if is_ready} == expected

        down = asyncio.create_task(stack.hold_down(server, 15))
        await eventually(lambda: are(urls.keys() - DEPENDENT[server]), within_s=14)
        for url in urls.values():
            assert (await http.get(f"{url}/health/live")).status_code == 200
        assert not down.done()  # it was away all the while
        await down
        await eventually(lambda: are(set(urls)), within_s=30)


def _is_service(name: str) -> bool:
    return name in {"auth", "chat", "ai", "billing", "gateway"}

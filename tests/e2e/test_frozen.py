import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from libs.common.db import Connection
from libs.common.testing import eventually
from tests.e2e.crowd import Crowd
from tests.e2e.stack import Stack, ports_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]


async def cut_off(stack: Stack, pid: int) -> None:
    """Have PostgreSQL and RabbitMQ drop a process, as they do with a machine that is gone."""
    ports = list(ports_of(pid))

    async def terminate(conn: Connection) -> int:
        rows = await conn.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = ANY($1)",
            ports,
        )
        return len(rows)

    assert await stack.query(terminate) >= 1
    login = urlsplit(stack.url("rabbitmq"))
    token = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    headers = {"authorization": f"Basic {token}"}
    async with httpx2.AsyncClient(
        base_url=stack.url("management"), headers=headers, verify=False
    ) as http:

        async def both() -> list[dict[str, Any]]:
            connections = (await http.get("/api/connections")).json()
            ours = [each for each in connections if each.get("peer_port") in ports]
            return ours if len(ours) >= 2 else []  # to publish and to consume

        for connection in await eventually(both, within_s=10):
            (await http.delete(f"/api/connections/{connection['name']}")).raise_for_status()


def log_of(process: dict[str, Any]) -> bytes:
    return Path(process["log"]).read_bytes()


@pytest.mark.parametrize("service", ["ai", "chat"])
async def test_what_a_frozen_process_did_others_do_and_it_does_not_do_it_again(
    crowd: Crowd, stack: Stack, service: str
) -> None:
    """F6: it sleeps until all its work is done by others, and then wakes."""
    await crowd.start()
    await crowd.in_the_middle()

    (victim,) = (each for each in stack.processes(service) if each["name"] == service)
    with stack.frozen(service):
        await cut_off(stack, victim["pid"])
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

"""A real Prometheus scrapes the running system, and answers what the dashboard asks."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from deploy.local.config import SERVICES
from libs.common.testing import eventually
from tests.contracts.queries import OBSERVABILITY, RULES, alerts, panels
from tests.e2e.person import Person, logged_in
from tests.e2e.stack import Stack, service_of
from tests.ports import free_port
from tests.prometheus import prometheus_bin

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["single"], indirect=True),
]

QUIET = {"Failing routes, 5xx", "Failing deliveries", "Codes handed to providers"}
"""Panels that are empty where nothing failed, and codes are in the answers."""


def targets(stack: Stack) -> list[dict[str, Any]]:
    """Return where each process tells its metrics, as `static_configs` have it."""
    ports = json.loads((stack.home / "ports.json").read_text())["ports"]
    return [
        {
            "targets": [f"127.0.0.1:{ports.get(f'{name}-metrics', each['port'])}"],
            "labels": {"service": service_of(name)},
        }
        for each in stack.processes()
        if service_of(name := each["name"]) in SERVICES
    ]


@contextmanager
def prometheus(stack: Stack, folder: Path) -> Iterator[str]:
    """Run Prometheus with our rules on the stack's processes, not every 15 s but every one."""
    configuration = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())
    in_containers = configuration["scrape_configs"][0]
    found = {name for each in in_containers["dns_sd_configs"] for name in each["names"]}
    assert (in_containers["job_name"], found) == ("thoughtflow", {*SERVICES})
    ours = {"job_name": "thoughtflow", "static_configs": targets(stack)}
    configuration |= {"scrape_configs": [ours], "rule_files": [str(path) for path in RULES]}
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command = [str(prometheus_bin() / "prometheus"), *options, f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
async def api(stack: Stack, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Prometheus's API, once every process was scraped."""
    with prometheus(stack, tmp_path) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=30) as api:

            async def all_up() -> bool:
                try:
                    found = await api.get("/targets", params={"state": "active"})
                except httpx2.TransportError:
                    return False
                if found.status_code != 200:  # it is still starting
                    return False
                states = [each["health"] for each in found.json()["data"]["activeTargets"]]
                return states == ["up"] * len(targets(stack))

            await eventually(all_up, within_s=60)
            yield api


async def live(stack: Stack, person: Person) -> None:
    """Do once what the dashboard draws: log in, chat, pay, watch, meet a limit."""
    async with logged_in(stack) as newcomer:
        room = await newcomer.room()
        posted = await newcomer.post(room, "What is tea?")
        await newcomer.follow(posted.json()["stream_url"])
        while (await newcomer.post(room, "More")).status_code != 429:
            await newcomer.ended(room)
        await newcomer.pay(stack.url("stripe"))


async def test_every_panel_has_data_and_no_alert_fires_while_people_chat_and_pay(
    stack: Stack, person: Person, api: httpx2.AsyncClient
) -> None:
    stopping = asyncio.Event()

    async def watch() -> None:  # so that there is a live connection
        async with person.http.stream("GET", "/event") as stream:
            assert stream.status_code == 200
            await stopping.wait()

    async def empty_panels() -> list[str]:
        empty = []
        for name, target in panels():
            query = {"query": target["expr"].replace("$__rate_interval", "1m")}
            answer = await api.get("/query", params=query)
            assert answer.json()["status"] == "success", (name, answer.text)
            if not answer.json()["data"]["result"]:
                empty.append(name.rpartition(" (")[0])
        return empty

    async def has_all() -> bool:
        return {*await empty_panels()} <= QUIET

    watching = asyncio.create_task(watch())
    try:
        await live(stack, person)
        await eventually(has_all, within_s=30)
    finally:
        stopping.set()
        await watching

    groups = (await api.get("/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []

"""From one release to the next: while its migrations run, before its code does, and after."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.blocking import PREVIOUS_RELEASE
from tests.contracts.tree import SCHEMAS
from tests.e2e.person import Person, device_at, logged_in
from tests.e2e.stack import ROOT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def released(folder: Path) -> None:
    """Unpack the previous release, which a clone without its history does not have."""
    git = ["git", "-C", str(ROOT)]
    archive = subprocess.run([*git, "archive", PREVIOUS_RELEASE], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"{PREVIOUS_RELEASE} is not in this clone: git fetch --unshallow")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


async def use(person: Person) -> list[dict[str, Any]]:
    """Write, change, stop and look for messages; return those of the room as they are then."""
    room = await person.room()
    assert (await person.post(room, "The first")).status_code == 202
    first, _ = await person.ended(room)
    await person.call("PATCH", f"/chatroom/{room}/message/{first['id']}", {"content": "Edited"})
    _, reply = await person.ended(room)
    await person.call("POST", f"/chatroom/{room}/message/{reply['id']}/regenerate")
    await person.ended(room)
    await person.post(room, "Stop this")
    await person.call("POST", f"/chatroom/{room}/stop")
    messages = await person.ended(room)
    found = await person.call("GET", "/search?q=edited")
    assert found["data"], "the search found nothing"
    await person.call("GET", "/quota")
    await person.call("GET", "/usage")
    return messages


async def test_an_upgrade_keeps_serving_on_the_new_schema_and_loses_nothing(tmp_path: Path) -> None:
    """M1: the previous release runs on the new schema, and the new one goes on where it ended."""
    released(tmp_path)
    stack = Stack("single", source=tmp_path)
    try:
        await stack.ready()
        async with logged_in(stack) as person:
            before = await use(person)

            for service in SCHEMAS:
                await stack.migrate(service)

            assert await person.messages(before[0]["chatroom_id"]) == before
            during = await use(person)
            await person.pay(stack.url("stripe"))
            async with logged_in(stack) as newcomer:
                await use(newcomer)

            assert await asyncio.to_thread(stack.shut_down) == 0
            stack.source = ROOT
            stack.start()
            await stack.ready()

            async with device_at(stack.url("gateway"), person) as device:
                for messages in (before, during):
                    room = messages[0]["chatroom_id"]
                    assert await device.messages(room) == messages
                assert (await device.call("GET", "/subscription/status"))["plan"] == "pro"
                await use(device)
    finally:
        stack.stop()

"""A backup of a living stack, restored into an empty one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from libs.common.testing import eventually
from tests.e2e.person import Person, device_at
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("stack", ["single"], indirect=True)]


async def pro(person: Person) -> dict[str, Any] | None:
    me = await person.call("GET", "/user/me")
    return me if me["plan"] == "pro" else None


def mode(file: Path) -> int:
    return file.stat().st_mode


async def test_users_chats_and_subscriptions_live_on_where_a_backup_is_restored(
    stack: Stack, person: Person
) -> None:
    room = await person.room()
    await person.post(room, "Remember me")
    before = await person.ended(room)
    await person.pay(stack.url("stripe"))
    me = await eventually(lambda: pro(person))

    code, said = await asyncio.to_thread(stack.command, "backup", "create")
    assert code == 0, said
    file = Path(said.partition(" (")[0])
    assert mode(file) & 0o077 == 0  # it holds every secret

    other = await asyncio.to_thread(Stack, "single", backup=file)
    try:
        await other.ready()
        async with device_at(other.url("gateway"), person) as restored:
            assert await restored.call("GET", "/user/me") == me
            assert await restored.messages(room) == before
            assert (await restored.call("GET", "/subscription/status"))["plan"] == "pro"
            # Not only shown: what is restored goes on.
            await restored.post(room, "And go on")
            messages = await restored.ended(room)
            assert [each["status"] for each in messages] == ["completed"] * 4
        code, said = await asyncio.to_thread(other.command, "doctor")
        assert code == 0, said
        code, said = await asyncio.to_thread(other.command, "backup", "restore", str(file))
        assert (code, "already runs" in said) == (1, True), said
    finally:
        other.stop()

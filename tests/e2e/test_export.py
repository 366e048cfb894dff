"""A user takes everything along."""

import orjson
import pytest

from libs.common.clock import new_id
from tests.e2e.person import Person
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def test_the_archive_holds_what_every_service_knows_and_its_rooms_can_come_back(
    stack: Stack, person: Person, stranger: Person
) -> None:
    """Z5: and nothing of a stranger's."""
    me = await person.call("PATCH", "/user/me", {"timezone": "Europe/Vienna"})
    await person.pay(stack.url("stripe"))
    word = f"word{new_id().hex}"
    for who, content in ((person, word), (stranger, f"not {word}")):
        room = await who.room()
        await who.post(room, content)
        await who.ended(room)

    answer = await person.http.get("/user/me/export")

    assert answer.status_code == 200, answer.text
    archive = orjson.loads(answer.content)
    assert set(archive) == {
        *("format", "version", "exported_at", "account", "billing", "usage", "chat"),
    }
    assert archive["account"]["user"]["id"] == me["id"]
    assert archive["account"]["user"]["timezone"] == "Europe/Vienna"
    assert len(archive["account"]["sessions"]) == 1
    assert archive["billing"]["subscription"]["plan"] == "pro"
    assert archive["billing"]["customer"]["email"] == me["email"]
    assert "invoice.paid" in {event["type"] for event in archive["billing"]["stripe_events"]}
    assert [charge["kind"] for charge in archive["usage"]["charges"]].count("reply") == 1
    (chatroom,) = archive["chat"]["chatrooms"]
    assert chatroom["messages"][0]["content"] == word
    assert f"not {word}" not in answer.text
    imported = await person.call("POST", "/chatroom/import", chatroom)
    assert len(await person.messages(imported["id"])) == 2

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import ChatroomSummarised, ConversationGrew, MessagePosted
from services.chat.actions import branches, replies, summaries
from services.chat.settings import Settings
from services.chat.tests.integration.posting import (
    allow_everything,
    failed,
    post,
    ready,
    turn,
    waiting,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kept_outbox")]

SENT = 40_000
"""Characters of history in a prompt at most."""


def length(event: MessagePosted) -> int:
    return sum(len(turn.content) for turn in event.history)


async def prompts(conn: Connection) -> list[MessagePosted]:
    return await waiting(conn, MessagePosted)


async def summarise(
    app: FastAPI, room_id: UUID, user_id: UUID, until: UUID, summary: str = "Once upon a time"
) -> None:
    event = ChatroomSummarised(user_id=user_id, chatroom_id=room_id, summary=summary, until=until)
    await summaries.record_summary(app.state.resources, event)


async def talk(app: FastAPI, room_id: UUID, user_id: UUID, first: int, last: int) -> None:
    """Have turns of 2,000 characters, each beginning with its number."""
    for number in range(first, last + 1):
        text = f"{number} ".ljust(1000, ".")
        await turn(app, room_id, user_id, text, text)


def numbers(event: MessagePosted | ConversationGrew) -> list[int]:
    """Return the numbers of the turns that the event carries."""
    turns = event.history if isinstance(event, MessagePosted) else event.turns
    return [int(turn.content.split()[0]) for turn in turns[::2]]


async def test_nothing_falls_out_of_the_prompt_before_a_summary_tells_it(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    await talk(app, room_id, user_id, 1, 16)
    assert await waiting(conn, ConversationGrew) == []

    await talk(app, room_id, user_id, 17, 18)

    (grown,) = await waiting(conn, ConversationGrew)
    assert numbers(grown) == [1, 2, 3, 4, 5]  # 17 turns, of which 12 are kept
    assert grown.summary == ""
    assert numbers((await prompts(conn))[-1]) == list(range(1, 18))

    await summarise(app, room_id, user_id, grown.until)
    await talk(app, room_id, user_id, 19, 19)

    prompt = (await prompts(conn))[-1]
    assert (prompt.summary, numbers(prompt)) == ("Once upon a time", list(range(6, 19)))
    await talk(app, room_id, user_id, 20, 23)
    assert len(await waiting(conn, ConversationGrew)) == 2
    again = (await waiting(conn, ConversationGrew))[-1]
    assert (again.summary, numbers(again)) == ("Once upon a time", [6, 7, 8, 9, 10])


async def test_a_stretch_is_asked_for_once_and_again_only_after_another_without_an_answer(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    await talk(app, room_id, user_id, 1, 21)
    assert len(await waiting(conn, ConversationGrew)) == 1

    await talk(app, room_id, user_id, 22, 24)

    assert [numbers(event) for event in await waiting(conn, ConversationGrew)] == [
        list(range(1, 6)),
        list(range(1, 11)),
    ]


async def test_a_prompt_stays_as_small_in_a_long_room_as_in_a_young_one(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """L3: what chat sends is bounded, too."""
    await allow_everything(app, user_id)
    await talk(app, room_id, user_id, 1, 40)
    assert max(length(prompt) for prompt in await prompts(conn)) == SENT

    await conn.execute("UPDATE message SET content = 'x' WHERE chatroom_id = $1", room_id)
    for _ in range(15):
        await turn(app, room_id, user_id, "x", "y")

    assert len((await prompts(conn))[-1].history) == 64


async def test_the_newest_turn_is_sent_however_long_it_is(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await turn(app, room_id, user_id, "short", "short")
    await turn(app, room_id, user_id, "q" * 32_000, "a" * 50_000)

    await post(app, room_id, user_id, "and?")

    assert [len(t.content) for t in (await prompts(conn))[-1].history] == [32_000, 50_000]


@pytest.mark.parametrize("until", ["older", "unknown", "hidden"])
async def test_a_summary_that_is_older_or_of_another_branch_changes_nothing(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection, until: str
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    second = await turn(app, room_id, user_id, "b", "B")
    hidden = await turn(app, room_id, user_id, "b2", "B2", edits=second.message_id)
    await branches.switch_path(
        app.state.resources, chatroom_id=room_id, message_id=second.message_id, user_id=user_id
    )
    await summarise(app, room_id, user_id, second.reply_id, "newest")
    ids = {"older": first.reply_id, "unknown": new_id(), "hidden": hidden.reply_id}

    await summarise(app, room_id, user_id, ids[until], "wrong")
    third = await turn(app, room_id, user_id, "c", "C")
    await summarise(app, room_id, new_id(), third.reply_id, "a stranger's")
    await post(app, room_id, user_id, "d")

    assert (await prompts(conn))[-1].summary == "newest"


async def test_a_summary_is_forgotten_where_the_branch_leaves_what_it_tells(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    first = await turn(app, room_id, user_id, "a", "A")
    second = await turn(app, room_id, user_id, "b", "B")
    third = await turn(app, room_id, user_id, "c", "C")
    await summarise(app, room_id, user_id, second.reply_id, "told a and b")

    await turn(app, room_id, user_id, "c2", "C2", edits=third.message_id)
    await turn(app, room_id, user_id, "b2", "B2", edits=second.message_id)
    await branches.switch_path(
        app.state.resources, chatroom_id=room_id, message_id=first.reply_id, user_id=user_id
    )
    await post(app, room_id, user_id, "d")

    told = [
        (e.content, e.summary, "".join(t.content for t in e.history)) for e in await prompts(conn)
    ]
    assert told[3:] == [
        ("c2", "told a and b", ""),
        ("b2", "", "aA"),
        ("d", "", "aAb2B2"),
    ]


async def test_a_title_is_wanted_until_the_first_answer_unless_the_room_has_one(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    room_id = UUID((await client.post("/chatroom", json={})).json()["id"])
    lost = await post(app, room_id, user_id, "a")
    await replies.record_failure(app.state.resources, failed(lost, room_id, user_id))
    await turn(app, room_id, user_id, "b", "B")
    await turn(app, room_id, user_id, "c", "C")
    for source in ("user", "model"):
        titled = UUID((await client.post("/chatroom", json={"title": "Tea"})).json()["id"])
        await conn.execute("UPDATE chatroom SET title_source = $2 WHERE id = $1", titled, source)
        await post(app, titled, user_id, source)

    wanted = {event.content: event.wants_title for event in await prompts(conn)}

    assert wanted == {"a": True, "b": True, "c": False, "user": False, "model": False}


async def test_a_chosen_model_is_asked_if_the_plan_includes_it(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    async def send(model: str | None) -> httpx2.Response:
        return await client.post(
            f"/chatroom/{room_id}/message", json={"content": "hi", "model": model}
        )

    for plan, models, status in [("none", None, 403), ("a few", ("x",), 403), ("it", ("m",), 202)]:
        if models is not None:
            await conn.execute("DELETE FROM entitlement")
            await allow_everything(app, user_id, models)
        response = await send("m")
        assert response.status_code == status, plan
        if status == 403:
            assert response.json()["code"] == "model_not_in_plan"
    assert (await send(None)).status_code == 202
    assert (await send(Settings.model_fields["gemini_model"].default)).status_code == 202
    assert (await prompts(conn))[0].model == "m"
    assert await conn.fetchval("SELECT sum(used) FROM quota") == 3
    reply: dict[str, Any] = (await client.get(f"/chatroom/{room_id}/message")).json()["data"][4]
    assert (reply["role"], reply["model"]) == ("assistant", "m")


async def test_the_prompt_holds_this_room_only(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """L2: nothing of another room, no title, no token."""
    other = UUID((await client.post("/chatroom", json={"title": "secret title"})).json()["id"])
    await turn(app, other, user_id, "foreign", "FOREIGN")
    await summarise(
        app,
        other,
        user_id,
        await conn.fetchval("SELECT leaf_id FROM chatroom WHERE id = $1", other),
        "foreign summary",
    )
    posted = await turn(app, room_id, user_id, "a", "A")
    await replies.record_reply(app.state.resources, ready(posted, other, user_id, "stray"))

    await post(app, room_id, user_id, "b")

    payload = (await prompts(conn))[-1].model_dump_json()
    assert "foreign" not in payload.lower()
    assert "secret" not in payload
    assert [t.content for t in (await prompts(conn))[-1].history] == ["a", "A"]

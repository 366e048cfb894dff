from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import ChatroomChanged, MessageChanged, MessagePosted
from libs.common.testing import TokenIssuer
from services.chat.actions import completions
from services.chat.tests.integration.posting import allow_everything, used
from services.chat.tests.integration.rooms import in_outbox

pytestmark = pytest.mark.integration


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


async def test_a_conversation_is_announced_with_its_turns_and_charged_once(
    kept_outbox: None, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    messages = [
        *[said("system", "Be kind."), said("user", "a"), said("assistant", "A")],
        *[said("user", "b"), said("assistant", "B"), said("user", "c")],
    ]

    response = await client.post("/completion", json={"messages": messages})

    assert response.status_code == 202, response.text
    answer = response.json()
    (event,) = await in_outbox(conn, MessagePosted)
    assert event.content == answer["message"]["content"] == "Be kind.\n\nc"
    assert [(turn.role, turn.content) for turn in event.history] == [
        ("user", "a"),
        ("assistant", "A"),
        ("user", "b"),
        ("assistant", "B"),
    ]
    assert not event.wants_title
    assert answer["stream_url"] == (
        f"/chatroom/{event.chatroom_id}/message/{event.reply_id}/stream"
    )
    assert await used(conn, user_id) == 1


async def test_the_room_of_a_completion_is_shown_nowhere(
    kept_outbox: None, client: httpx2.AsyncClient, conn: Connection
) -> None:
    answer = await client.post(
        "/completion",
        json={"messages": [said("user", "tea"), said("assistant", "x"), said("user", "tea")]},
    )
    room_id = answer.json()["message"]["chatroom_id"]

    for query in ("", "?limit=5", "?archived=true", "?pinned=false"):
        assert (await client.get(f"/chatroom{query}")).json()["data"] == []
    for q in ("tea", "completion"):
        assert (await client.get(f"/search?q={q}")).json()["data"] == []
    assert (await client.get(f"/chatroom/{room_id}")).status_code == 404
    assert (await client.get(f"/chatroom/{room_id}/export")).status_code == 404
    assert (await client.patch(f"/chatroom/{room_id}", json={"pinned": True})).status_code == 404
    assert (await client.delete(f"/chatroom/{room_id}")).status_code == 404
    assert await in_outbox(conn, ChatroomChanged) == []
    assert await in_outbox(conn, MessageChanged) == []


async def test_its_reply_can_be_read_by_its_owner_only(
    client: httpx2.AsyncClient, issuer: TokenIssuer
) -> None:
    answer = (await client.post("/completion", json={"messages": [said("user", "a")]})).json()
    path = f"/chatroom/{answer['message']['chatroom_id']}/message/{answer['reply']['id']}"

    assert (await client.get(path)).json()["status"] == "queued"
    stranger = issuer.authorization(UUID(int=7))
    assert (await client.get(path, headers=stranger)).status_code == 404


async def test_completions_and_posts_share_the_daily_limit_and_a_refusal_leaves_nothing(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    body: dict[str, Any]
    for i in range(5):
        if i % 2:
            path, body = f"/chatroom/{room_id}/message", {"content": "a"}
        else:
            path, body = "/completion", {"messages": [said("user", "a")]}
        assert (await client.post(path, json=body)).status_code == 202
    rooms = await conn.fetchval("SELECT count(*) FROM chatroom")

    refused = await client.post(
        "/completion",
        json={"messages": [said("user", "a"), said("assistant", "b"), said("user", "c")]},
    )

    assert (refused.status_code, refused.json()["code"]) == (429, "daily_limit_reached")
    assert await used(conn, user_id) == 5
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == rooms


async def test_a_completion_asks_the_model_that_the_plan_includes_and_no_other(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    user_id: UUID,
    conn: Connection,
) -> None:
    await allow_everything(app, user_id, ("big",))
    body = {"messages": [said("user", "a")], "model": "big"}
    assert (await client.post("/completion", json=body)).status_code == 202
    (event,) = await in_outbox(conn, MessagePosted)
    assert event.model == "big"

    refused = await client.post("/completion", json=body | {"model": "bigger"})

    assert (refused.status_code, refused.json()["code"]) == (403, "model_not_in_plan")
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 1


async def test_the_room_is_gone_a_day_later_and_no_other(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    for _ in range(2):
        await client.post("/completion", json={"messages": [said("user", "a")]})
    assert await completions.delete_old_rooms(res) == 0
    yesterday = utc_now() - timedelta(days=1, seconds=1)
    await conn.execute("UPDATE chatroom SET created_at = $1 WHERE NOT hidden", yesterday)
    await conn.execute(
        "UPDATE chatroom SET created_at = $1 WHERE id = (SELECT max(id::text)::uuid FROM chatroom)",
        yesterday,
    )

    assert await completions.delete_old_rooms(res) == 1

    left = await conn.fetch("SELECT id, hidden FROM chatroom ORDER BY hidden")
    assert [row["hidden"] for row in left] == [False, True]
    assert left[0]["id"] == room_id
    assert await conn.fetchval("SELECT count(*) FROM message") == 2


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [said("system", "a")],
        [said("assistant", "a"), said("user", "b")],
        [said("user", "a"), said("assistant", "b")],
        [said("user", "")],
        [said("user", " ")],
        [said("user", "a\x00")],
        [said("tool", "a"), said("user", "a")],
        [said("user", "x" * 32_001)],
        [said("system", "x" * 20_000), said("user", "x" * 20_000)],
        [said("user", "a") | {"name": "x"}],
        [said("user", "a")] * 1001,
    ],
)
async def test_what_is_no_question_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient, conn: Connection, messages: list[dict[str, Any]]
) -> None:
    response = await client.post("/completion", json={"messages": messages})

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 0

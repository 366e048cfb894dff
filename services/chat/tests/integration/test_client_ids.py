import asyncio
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.events import MessageChanged, MessagePosted
from services.chat.tests.integration.posting import allow_everything, turn, used, waiting

pytestmark = pytest.mark.integration


async def send(
    client: httpx2.AsyncClient,
    room_id: UUID,
    content: str = "hello",
    client_id: str | None = "c1",
    key: str | None = None,
    **body: str,
) -> httpx2.Response:
    return await client.post(
        f"/chatroom/{room_id}/message",
        json={
            "content": content,
            **({"client_message_id": client_id} if client_id else {}),
            **body,
        },
        headers={"Idempotency-Key": key} if key else {},
    )


async def test_the_same_client_id_posts_once_and_other_words_are_refused(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """R6: by the client's own id as well."""
    answers = await asyncio.gather(*(send(client, room_id) for _ in range(10)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["message"]["client_message_id"] == "c1"
    assert [a.headers.get("idempotent-replayed") for a in answers].count("true") == 9
    assert await used(conn, user_id) == 1
    reused = await send(client, room_id, "other")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert await conn.fetchval("SELECT count(*) FROM message") == 2


async def test_a_client_id_holds_in_its_room_only(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    other = UUID((await client.post("/chatroom", json={})).json()["id"])

    assert (await send(client, room_id)).status_code == 202
    assert (await send(client, other, "other words")).status_code == 202

    assert await used(conn, user_id) == 2


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (("c1", "k1"), ("c1", "k1"), 202),
        (("c1", "k1"), ("c1", "k2"), 202),
        (("c1", "k1"), ("c1", None), 202),
        (("c1", None), ("c1", "k1"), 202),
        (("c1", "k1"), ("c2", "k1"), 422),
        (("c1", "k1"), (None, "k1"), 422),
        ((None, "k1"), ("c1", "k1"), 422),
    ],
)
async def test_a_key_and_a_client_id_agree_or_the_post_is_refused(
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    first: tuple[str | None, str | None],
    second: tuple[str | None, str | None],
    status: int,
) -> None:
    sent = await send(client, room_id, "hello", *first)
    again = await send(client, room_id, "hello", *second)

    assert (sent.status_code, again.status_code) == (202, status)
    if status == 202:
        assert again.json()["reply"] == sent.json()["reply"]
    assert await used(conn, user_id) == 1


async def test_another_model_is_another_message(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await allow_everything(app, user_id, ("m", "n"))
    assert (await send(client, room_id, model="m")).status_code == 202

    assert (await send(client, room_id, model="m")).status_code == 202
    assert (await send(client, room_id, model="n")).status_code == 422
    assert (await send(client, room_id)).status_code == 422


async def test_a_message_whose_reply_was_regenerated_replays_its_first_answer(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    posted = await turn(app, room_id, user_id, "hello", "hi", client_message_id="c1")
    url = f"/chatroom/{room_id}/message/{posted.reply_id}/regenerate"
    assert (await client.post(url)).status_code == 202

    assert (await send(client, room_id)).json()["reply"]["id"] == str(posted.reply_id)


@pytest.mark.parametrize("client_id", ["", "x" * 101, "a\x00b", 5])
async def test_a_bad_client_id_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, client_id: object
) -> None:
    response = await client.post(
        f"/chatroom/{room_id}/message", json={"content": "x", "client_message_id": client_id}
    )

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


async def test_other_devices_hear_of_a_post_once_in_its_own_statement(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
) -> None:
    answers = [(await send(client, room_id, "hé 🍵")).json() for _ in range(2)]
    refused = await send(client, room_id, "other")
    assert refused.status_code == 422

    (change,) = await waiting(conn, MessageChanged)

    message, reply = answers[0]["message"], answers[0]["reply"]
    assert change == MessageChanged(
        event_id=change.event_id,
        occurred_at=change.occurred_at,
        user_id=user_id,
        chatroom_id=room_id,
        message_id=UUID(message["id"]),
        change="created",
        content="hé 🍵",
        client_message_id="c1",
        reply_id=UUID(reply["id"]),
        created_at=change.created_at,
    )
    assert message["created_at"] == change.model_dump(mode="json")["created_at"]
    assert len(await waiting(conn, MessagePosted)) == 1


async def test_a_hidden_room_stays_out_of_the_feed(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    conn: Connection,
) -> None:
    await conn.execute("UPDATE chatroom SET hidden = true WHERE id = $1", room_id)

    assert (await send(client, room_id)).status_code == 202

    assert await waiting(conn, MessageChanged) == []
    (posted,) = await waiting(conn, MessagePosted)
    assert not posted.wants_title

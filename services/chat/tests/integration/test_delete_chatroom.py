from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import (
    AIReplyStarted,
    ChatroomChanged,
    ChatroomTitled,
    MessageChanged,
    ReplyStopRequested,
)
from libs.common.testing import TokenIssuer
from services.chat.actions import chatrooms, replies
from services.chat.tests.integration.posting import failed, post, ready, used
from services.chat.tests.integration.rooms import in_outbox, make_room

pytestmark = pytest.mark.integration


async def test_a_deleted_room_leaves_nothing_and_the_list_shows_it_at_once(
    kept_outbox: None,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
) -> None:
    other = await make_room(client, "a", "A")
    assert len((await client.get("/chatroom")).json()["data"]) == 2

    response = await client.delete(f"/chatroom/{other}")

    assert (response.status_code, response.content) == (204, b"")
    assert await conn.fetchval("SELECT count(*) FROM message") == 0
    for _ in range(2):
        rooms = (await client.get("/chatroom")).json()["data"]
        assert [room["id"] for room in rooms] == [str(room_id)]
    assert (await client.get(f"/chatroom/{other}")).status_code == 404
    assert (await client.delete(f"/chatroom/{other}")).status_code == 404
    event = (await in_outbox(conn, ChatroomChanged))[-1]
    assert (event.chatroom_id, event.change, event.version) == (UUID(other), "deleted", 2)
    assert (event.user_id, event.chatroom) == (user_id, None)


async def test_deleting_stops_open_replies_and_what_ai_still_tells_is_harmless(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
) -> None:
    res = app.state.resources
    ended = await post(app, room_id, user_id)
    await replies.record_reply(res, ready(ended, room_id, user_id))
    running, queued = [await post(app, room_id, user_id) for _ in range(2)]
    started = AIReplyStarted(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=running.reply_id,
        attempt=1,
        model="m",
    )
    await replies.record_start(res, started)

    assert (await client.delete(f"/chatroom/{room_id}")).status_code == 204

    stops = await in_outbox(conn, ReplyStopRequested)
    assert [stop.reply_id for stop in stops] == [running.reply_id, queued.reply_id]
    assert {(stop.user_id, stop.chatroom_id) for stop in stops} == {(user_id, room_id)}
    told = await conn.fetchval("SELECT count(*) FROM outbox")
    charged = await used(conn, user_id)
    await replies.record_start(res, started.model_copy(update={"attempt": 2}))
    await replies.record_reply(res, ready(running, room_id, user_id))
    await replies.record_failure(res, failed(queued, room_id, user_id))
    await chatrooms.apply_title(
        res, ChatroomTitled(user_id=user_id, chatroom_id=room_id, title="late")
    )
    assert await conn.fetchval("SELECT count(*) FROM message") == 0
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 0
    assert await conn.fetchval("SELECT count(*) FROM outbox") == told
    assert await used(conn, user_id) == charged == 3


async def test_an_opinion_of_a_reply_is_kept_replaced_and_taken_back(
    kept_outbox: None, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    room_id = await make_room(client, "a", "A")
    reply_id = await conn.fetchval("SELECT id FROM message WHERE role = 'assistant'")
    path = f"/chatroom/{room_id}/message/{reply_id}/feedback"
    opinions = [
        {"thumb": "up", "reason": None},
        {"thumb": "down", "reason": "  too <b>long</b> 🍵"},
    ]

    for opinion in opinions:
        answer = await client.put(path, json=opinion)
        assert (answer.status_code, answer.json()) == (200, opinion)
    exported = (await client.get(f"/chatroom/{room_id}/export")).json()
    assert exported["messages"][1]["feedback"] == opinions[1]
    for _ in range(2):
        assert (await client.delete(path)).status_code == 204

    exported = (await client.get(f"/chatroom/{room_id}/export")).json()
    assert exported["messages"][1]["feedback"] is None
    events = await in_outbox(conn, MessageChanged)
    none = {"thumb": None, "reason": None}
    assert [event.feedback for event in events] == [*opinions, none, none]
    assert {(e.user_id, e.message_id, e.change) for e in events} == {(user_id, reply_id, "updated")}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"thumb": None},
        {"thumb": "sideways"},
        {"thumb": "up", "reason": "x" * 1001},
        {"thumb": "up", "reason": "\x00"},
        {"thumb": "up", "stars": 5},
    ],
)
async def test_an_opinion_that_is_none_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, body: dict[str, object]
) -> None:
    response = await client.put(f"/chatroom/{room_id}/message/{new_id()}/feedback", json=body)

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


async def test_only_replies_get_feedback(client: httpx2.AsyncClient, conn: Connection) -> None:
    room_id = await make_room(client, "a", "A")
    question_id = await conn.fetchval("SELECT id FROM message WHERE role = 'user'")

    path = f"/chatroom/{room_id}/message/{question_id}/feedback"
    response = await client.put(path, json={"thumb": "up"})

    assert (response.status_code, response.json()["code"]) == (404, "message_not_found")
    assert await conn.fetchval("SELECT count(*) FROM message WHERE thumb IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"title": "stolen"}),
        ("DELETE", "", None),
        ("GET", "/export", None),
        ("GET", "/export?format=markdown", None),
        ("PUT", "/message/{reply}/feedback", {"thumb": "up"}),
        ("DELETE", "/message/{reply}/feedback", None),
    ],
)
async def test_z1_a_strangers_room_looks_like_none(
    client: httpx2.AsyncClient,
    conn: Connection,
    issuer: TokenIssuer,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    room_id = await make_room(client, "secret", "SECRET")
    reply_id = await conn.fetchval("SELECT id FROM message WHERE role = 'assistant'")
    path = path.format(reply=reply_id)
    before = await conn.fetch("SELECT * FROM message, chatroom")

    def comparable(response: httpx2.Response) -> dict[str, object]:
        problem: dict[str, object] = response.json()
        assert response.status_code == 404
        return {name: value for name, value in problem.items() if name != "request_id"}

    stranger = issuer.authorization(new_id())
    foreign = await client.request(
        method, f"/chatroom/{room_id}{path}", json=body, headers=stranger
    )
    missing = await client.request(
        method, f"/chatroom/{new_id()}{path}", json=body, headers=stranger
    )

    assert comparable(foreign) == comparable(missing)
    assert await conn.fetch("SELECT * FROM message, chatroom") == before

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import MessageChanged, MessagePosted
from libs.common.testing import TokenIssuer
from services.chat.actions import branches, replies
from services.chat.tests.integration.posting import (
    allow_everything,
    post,
    ready,
    shown,
    turn,
    used,
    waiting,
)

pytestmark = pytest.mark.integration


def path(room_id: UUID, *parts: object) -> str:
    return "/".join(map(str, ("/chatroom", room_id, *parts)))


async def answer_newest(app: FastAPI, room_id: UUID, user_id: UUID, answer: str) -> None:
    """Answer the room's open reply."""
    res = app.state.resources
    reply_id = await res.db.fetchval("SELECT open_reply_id FROM chatroom WHERE id = $1", room_id)
    posted: Any = type("Asked", (), {"reply_id": reply_id})
    await replies.record_reply(res, ready(posted, room_id, user_id, answer))


async def listed(client: httpx2.AsyncClient, room_id: UUID) -> list[dict[str, Any]]:
    """Return the shown branch, oldest first."""
    data: list[dict[str, Any]] = (await client.get(path(room_id, "message"))).json()["data"]
    return data[::-1]


async def test_an_edit_replaces_the_rest_of_the_branch_and_both_branches_can_be_shown(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await turn(app, room_id, user_id, "a", "A")
    old_b = (await turn(app, room_id, user_id, "b", "B")).message_id
    await turn(app, room_id, user_id, "c", "C")

    edited = await client.patch(path(room_id, "message", old_b), json={"content": "b2"})

    assert edited.status_code == 202, edited.text
    new_b = edited.json()["message"]["id"]
    assert await shown(client, room_id) == ["a", "A", "b2", ""]
    await answer_newest(app, room_id, user_id, "B2")
    message = (await listed(client, room_id))[2]
    assert message["sibling_ids"] == [str(old_b), new_b]
    assert message["parent_id"] == (await listed(client, room_id))[1]["id"]

    back = await client.put(path(room_id, "path"), json={"message_id": str(old_b)})
    assert back.status_code == 200, back.text
    assert [m["content"] for m in back.json()["data"]][::-1] == ["a", "A", "b", "B", "c", "C"]
    assert await shown(client, room_id) == ["a", "A", "b", "B", "c", "C"]
    await client.put(path(room_id, "path"), json={"message_id": new_b})
    assert await shown(client, room_id) == ["a", "A", "b2", "B2"]
    await turn(app, room_id, user_id, "d", "D")
    assert await shown(client, room_id) == ["a", "A", "b2", "B2", "d", "D"]


async def test_the_first_message_can_be_edited(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    await turn(app, room_id, user_id, "b", "B")

    edited = await client.patch(path(room_id, "message", first.message_id), json={"content": "a2"})

    assert edited.status_code == 202, edited.text
    messages = await listed(client, room_id)
    assert [m["content"] for m in messages] == ["a2", ""]
    assert messages[0]["parent_id"] is None
    assert messages[0]["sibling_ids"] == [str(first.message_id), messages[0]["id"]]


@pytest.mark.parametrize("of", ["reply_id", "message_id"])
async def test_a_regenerated_reply_is_a_sibling_and_the_other_branch_keeps_what_followed(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, of: str
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    await turn(app, room_id, user_id, "b", "B")

    again = await client.post(path(room_id, "message", getattr(first, of), "regenerate"))

    assert again.status_code == 202, again.text
    assert again.json()["message"]["id"] == str(first.message_id)
    assert again.json()["message"]["content"] == "a"
    new_reply = again.json()["reply"]["id"]
    await answer_newest(app, room_id, user_id, "A2")
    messages = await listed(client, room_id)
    assert [m["content"] for m in messages] == ["a", "A2"]
    assert messages[1]["sibling_ids"] == [str(first.reply_id), new_reply]

    await client.put(path(room_id, "path"), json={"message_id": str(first.reply_id)})
    assert await shown(client, room_id) == ["a", "A", "b", "B"]


async def test_a_hidden_message_can_be_edited_and_its_past_is_shown_again(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    hidden = await turn(app, room_id, user_id, "b", "B")
    await turn(app, room_id, user_id, "a2", "A2", edits=first.message_id)

    await turn(app, room_id, user_id, "b2", "B2", edits=hidden.message_id)

    assert await shown(client, room_id) == ["a", "A", "b2", "B2"]


async def test_the_shown_path_of_a_branch_takes_its_newest_child_at_each_step(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await allow_everything(app, user_id)
    first = await turn(app, room_id, user_id, "a", "A")
    second = await turn(app, room_id, user_id, "b", "B")
    await turn(app, room_id, user_id, "b2", "B2", edits=second.message_id)
    await turn(app, room_id, user_id, "c", "C")
    await turn(app, room_id, user_id, "a2", "A2", edits=first.message_id)
    assert await shown(client, room_id) == ["a2", "A2"]

    for _ in range(2):
        switched = await client.put(
            path(room_id, "path"), json={"message_id": str(first.message_id)}
        )
        assert switched.status_code == 200
        assert await shown(client, room_id) == ["a", "A", "b2", "B2", "c", "C"]


async def test_the_model_is_told_only_what_the_shown_branch_says(
    kept_outbox: None, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    await turn(app, room_id, user_id, "a", "A")
    second = await turn(app, room_id, user_id, "b", "B")
    await turn(app, room_id, user_id, "c", "C")
    await turn(app, room_id, user_id, "b2", "B2", edits=second.message_id)
    await post(app, room_id, user_id, "d")
    await answer_newest(app, room_id, user_id, "D")
    await branches.switch_path(
        app.state.resources, chatroom_id=room_id, message_id=second.message_id, user_id=user_id
    )
    await branches.regenerate_reply(
        app.state.resources,
        chatroom_id=room_id,
        message_id=second.reply_id,
        user_id=user_id,
        model=None,
        idempotency_key=None,
    )

    events = await waiting(conn, MessagePosted)

    assert [(e.content, "".join(t.content for t in e.history)) for e in events] == [
        ("a", ""),
        ("b", "aA"),
        ("c", "aAbB"),
        ("b2", "aA"),
        ("d", "aAb2B2"),
        ("b", "aA"),
    ]


@pytest.mark.parametrize(
    ("method", "parts", "body"),
    [
        ("PATCH", ("message", "{message}"), {"content": "x"}),
        ("POST", ("message", "{reply}", "regenerate"), None),
        ("PUT", ("path",), {"message_id": "{message}"}),
    ],
)
async def test_the_branch_stays_while_a_reply_is_open_and_no_quota_is_used(
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    method: str,
    parts: tuple[str, ...],
    body: dict[str, str] | None,
) -> None:
    done = await turn(app, room_id, user_id, "a", "A")
    await post(app, room_id, user_id, "b")
    ids = {"message": str(done.message_id), "reply": str(done.reply_id)}

    response = await client.request(
        method,
        path(room_id, *(part.format(**ids) for part in parts)),
        json=body and {name: value.format(**ids) for name, value in body.items()},
    )

    assert (response.status_code, response.json()["code"]) == (409, "reply_in_progress")
    assert "stop" in response.json()["detail"]
    assert await shown(client, room_id) == ["a", "A", "b", ""]
    assert await used(conn, user_id) == 2


async def test_edits_and_regenerations_count_like_posts_and_replay_by_key(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    requests: list[tuple[str, str, dict[str, str] | None]] = [
        ("PATCH", path(room_id, "message", first.message_id), {"content": "a2"}),
        ("POST", path(room_id, "message", first.reply_id, "regenerate"), None),
    ]
    for number, (method, url, body) in enumerate(requests):
        headers = {"Idempotency-Key": f"k{number}"}
        sent = await client.request(method, url, json=body, headers=headers)
        assert sent.status_code == 202, sent.text
        again = await client.request(method, url, json=body, headers=headers)
        assert again.json() == sent.json()
        assert again.headers["idempotent-replayed"] == "true"
        await answer_newest(app, room_id, user_id, "x")
    assert await used(conn, user_id) == 3

    for (method, url, body), key in zip(requests, ("k1", "k0"), strict=True):
        reused = await client.request(method, url, json=body, headers={"Idempotency-Key": key})
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    posted = await client.post(
        path(room_id, "message"), json={"content": "a2"}, headers={"Idempotency-Key": "k0"}
    )
    assert posted.status_code == 422
    assert await used(conn, user_id) == 3

    await conn.execute("UPDATE quota SET used = 5")
    for method, url, body in requests:
        refused = await client.request(method, url, json=body)
        assert (refused.status_code, refused.json()["code"]) == (429, "daily_limit_reached")


async def test_other_devices_hear_of_a_branch(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    edited = await turn(app, room_id, user_id, "a2", "A2", edits=first.message_id)
    again = (await client.post(path(room_id, "message", edited.reply_id, "regenerate"))).json()
    await answer_newest(app, room_id, user_id, "A3")
    await client.put(path(room_id, "path"), json={"message_id": str(first.message_id)})

    changes = await waiting(conn, MessageChanged)

    assert [(c.change, c.message_id, c.content, c.reply_id) for c in changes] == [
        ("created", first.message_id, "a", first.reply_id),
        ("created", edited.message_id, "a2", edited.reply_id),
        ("updated", edited.message_id, None, UUID(again["reply"]["id"])),
        ("updated", first.message_id, None, None),
    ]


@pytest.mark.parametrize("known", [True, False])
async def test_nobody_changes_the_branches_of_another_or_of_nothing(
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    issuer: TokenIssuer,
    known: bool,
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")
    headers = issuer.authorization(new_id()) if known else {}
    message_id = first.message_id if known else new_id()

    answers = [
        await client.patch(
            path(room_id, "message", message_id), json={"content": "x"}, headers=headers
        ),
        await client.post(path(room_id, "message", message_id, "regenerate"), headers=headers),
        await client.put(
            path(room_id, "path"), json={"message_id": str(message_id)}, headers=headers
        ),
        await client.post(path(room_id, "message", message_id, "stop"), headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert await shown(client, room_id) == ["a", "A"]


async def test_a_reply_cannot_be_edited(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    first = await turn(app, room_id, user_id, "a", "A")

    response = await client.patch(path(room_id, "message", first.reply_id), json={"content": "x"})

    assert (response.status_code, response.json()["code"]) == (404, "message_not_found")

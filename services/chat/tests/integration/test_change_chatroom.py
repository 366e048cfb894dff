import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import ChatroomChanged, ChatroomTitled
from services.chat.actions import chatrooms
from services.chat.tests.integration.rooms import in_outbox

pytestmark = pytest.mark.integration


def titled(user_id: UUID, room_id: UUID | str, title: str = "Green tea") -> ChatroomTitled:
    return ChatroomTitled(user_id=user_id, chatroom_id=UUID(str(room_id)), title=title)


async def first_page(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    rooms: list[dict[str, Any]] = (await client.get("/chatroom")).json()["data"]
    return rooms


@pytest.mark.parametrize(
    "change",
    [
        {"title": " Tea & <b>cake</b> 🍰 "},
        {"pinned": True},
        {"archived": True},
        {"metadata": {"colour": "green", "n": 5, "x": 0.5, "on": True, "é": ""}},
        {"title": "x", "pinned": True, "archived": True, "metadata": {}},
    ],
)
async def test_a_change_is_kept_announced_and_seen_in_the_cached_list_at_once(
    kept_outbox: None,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    change: dict[str, Any],
) -> None:
    before = (await client.get(f"/chatroom/{room_id}")).json()
    assert await first_page(client) == [before]

    changed = await client.patch(f"/chatroom/{room_id}", json=change)

    expected = before | change | {"version": 2}
    assert (changed.status_code, changed.json()) == (200, expected)
    assert changed.headers["etag"] == '"2"'
    assert (await client.get(f"/chatroom/{room_id}")).json() == expected
    for _ in range(2):
        assert await first_page(client) == ([] if change.get("archived") else [expected])
    created, updated = await in_outbox(conn, ChatroomChanged)
    assert (created.change, created.version, created.chatroom) == ("created", 1, before)
    assert (updated.change, updated.version, updated.chatroom) == ("updated", 2, expected)
    assert updated.user_id == user_id


async def test_archived_and_pinned_rooms_have_lists_of_their_own(
    client: httpx2.AsyncClient,
) -> None:
    rooms = [(await client.post("/chatroom", json={})).json()["id"] for _ in range(4)]
    await client.patch(f"/chatroom/{rooms[0]}", json={"archived": True})
    await client.patch(f"/chatroom/{rooms[1]}", json={"pinned": True})
    await client.patch(f"/chatroom/{rooms[2]}", json={"archived": True})
    await client.patch(f"/chatroom/{rooms[2]}", json={"archived": False})

    async def ids(query: str) -> list[str]:
        page = (await client.get(f"/chatroom{query}")).json()
        return [room["id"] for room in page["data"]]

    assert await ids("") == [rooms[3], rooms[2], rooms[1]]
    assert await ids("?archived=true") == [rooms[0]]
    assert await ids("?pinned=true") == [rooms[1]]
    assert await ids("?pinned=false&archived=false") == [rooms[3], rooms[2]]
    assert (await client.get("/chatroom?archived=1")).status_code == 422


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"7", "1"', 200),
        ('"2"', 412),
        ('W/"1"', 412),
        ("1", 412),
        ("x", 412),
        ('"' + "1" * 5000 + '"', 412),
    ],
)
async def test_a_change_with_if_match_needs_the_version_that_was_read(
    client: httpx2.AsyncClient, room_id: UUID, if_match: str, status: int
) -> None:
    headers = {"if-match": if_match}
    response = await client.patch(f"/chatroom/{room_id}", json={"title": "x"}, headers=headers)

    assert response.status_code == status
    room = (await client.get(f"/chatroom/{room_id}")).json()
    assert room["title"] == ("x" if status == 200 else "Tea")
    if status == 412:
        assert response.json()["code"] == "precondition_failed"
        gone = await client.delete(f"/chatroom/{room_id}", headers=headers)
        assert gone.status_code == 412


async def test_of_changes_at_once_with_one_version_one_is_made(
    client: httpx2.AsyncClient, room_id: UUID
) -> None:
    answers = await asyncio.gather(
        *(
            client.patch(
                f"/chatroom/{room_id}", json={"title": f"{i}"}, headers={"if-match": '"1"'}
            )
            for i in range(10)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    assert (await client.get(f"/chatroom/{room_id}")).json()["version"] == 2


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"9", "1"', 304), ("*", 304), ('"2"', 200), ("x", 200)],
)
async def test_what_the_client_has_is_not_sent_again(
    client: httpx2.AsyncClient, room_id: UUID, if_none_match: str, status: int
) -> None:
    response = await client.get(f"/chatroom/{room_id}", headers={"if-none-match": if_none_match})

    assert (response.status_code, response.headers["etag"]) == (status, '"1"')
    assert bool(response.content) == (status == 200)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"title": None},
        {"title": " \n"},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"pinned": 1},
        {"archived": "true"},
        {"hidden": True},
        {"version": 9},
        {"user_id": str(new_id())},
        {"metadata": None},
        {"metadata": []},
        {"metadata": {"a": None}},
        {"metadata": {"a": [1]}},
        {"metadata": {"a": {"b": 1}}},
        {"metadata": {"": 1}},
        {"metadata": {"k" * 65: 1}},
        {"metadata": {"a\x00": 1}},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"a": 2**53}},
        {"metadata": {"a": 1e300}},
        {"metadata": {"a": "x" * 4096}},
        {"metadata": {str(i): i for i in range(17)}},
    ],
)
async def test_a_change_that_cannot_be_kept_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, change: dict[str, Any]
) -> None:
    response = await client.patch(f"/chatroom/{room_id}", json=change)

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert (await client.get(f"/chatroom/{room_id}")).json()["version"] == 1


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"1" * 5000])
async def test_numbers_that_are_none_are_refused(
    client: httpx2.AsyncClient, room_id: UUID, number: bytes
) -> None:
    response = await client.patch(
        f"/chatroom/{room_id}",
        content=b'{"metadata": {"a": %s}}' % number,
        headers={"content-type": "application/json"},
    )

    assert response.status_code in {400, 422}


async def test_the_models_title_is_taken_once_and_shown_at_once(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    user_id: UUID,
    conn: Connection,
) -> None:
    res = app.state.resources
    room = (await client.post("/chatroom", json={})).json()
    assert await first_page(client) == [room]

    await chatrooms.apply_title(res, titled(user_id, room["id"]))
    assert [seen["title"] for seen in await first_page(client)] == ["Green tea"]
    await chatrooms.apply_title(res, titled(user_id, room["id"], "Black tea"))

    expected = room | {"title": "Green tea", "version": 2}
    assert (await client.get(f"/chatroom/{room['id']}")).json() == expected
    assert [event.chatroom for event in await in_outbox(conn, ChatroomChanged)] == [room, expected]


@pytest.mark.parametrize("named_first", [True, False])
async def test_the_models_title_never_replaces_the_users(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, *, named_first: bool
) -> None:
    room = (await client.post("/chatroom", json={"title": "Mine"} if named_first else {})).json()
    if not named_first:
        await client.patch(f"/chatroom/{room['id']}", json={"title": "Mine"})

    await chatrooms.apply_title(app.state.resources, titled(user_id, room["id"]))
    await chatrooms.apply_title(app.state.resources, titled(new_id(), room["id"]))

    assert (await client.get(f"/chatroom/{room['id']}")).json()["title"] == "Mine"


async def test_readers_beside_changes_never_end_with_a_stale_list(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID
) -> None:
    async def write() -> None:
        for i in range(10):
            await client.patch(f"/chatroom/{room_id}", json={"title": f"{i}"})
            assert [room["title"] for room in await first_page(client)] == [f"{i}"]

    async def read() -> None:
        for _ in range(30):
            await first_page(client)

    await asyncio.gather(write(), read(), read())
    await app.state.resources.cache.aclose()

    assert [room["title"] for room in await first_page(client)] == ["9"]

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import ChatroomChanged
from libs.common.testing import TokenIssuer
from services.chat.tests.integration.posting import post
from services.chat.tests.integration.rooms import (
    AT,
    dialogue,
    file,
    in_outbox,
    make_room,
    message,
)

pytestmark = pytest.mark.integration
TEXT = st.text(
    alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]),
    min_size=1,
    max_size=20,
).filter(str.strip)
MOMENT = st.sampled_from([AT, "1970-01-01T00:00:00Z", "2100-12-31T23:59:59.999999Z"])
NUMBER = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e6, 1e6)
METADATA = st.dictionaries(TEXT, NUMBER | st.booleans() | TEXT, max_size=4)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a room: turns that each hang on any reply before them, some regenerated."""
    messages: list[dict[str, Any]] = []
    replies: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 5))):
        parent = draw(st.sampled_from([None, *replies]))
        question = message("user", draw(TEXT), parent, created_at=draw(MOMENT))
        messages.append(question)
        for _ in range(draw(st.integers(1, 2))):
            replies.append(draw(answers(question)))
            messages.append(replies[-1])
    return file(
        *messages,
        shown=draw(st.sampled_from(replies))["id"] if replies else None,
        title=draw(TEXT),
        created_at=draw(MOMENT),
        pinned=draw(st.booleans()),
        archived=draw(st.booleans()),
        metadata=draw(METADATA),
    )


@st.composite
def answers(draw: st.DrawFn, question: dict[str, Any]) -> dict[str, Any]:
    status = draw(st.sampled_from(["completed", "failed", "stopped"]))
    problem = {"code": "x", "detail": draw(TEXT), "retryable": draw(st.booleans())}
    opinion = st.fixed_dictionaries(
        {"thumb": st.sampled_from(["up", "down"]), "reason": st.none() | TEXT}
    )
    return message(
        "assistant",
        draw(TEXT) if status == "completed" else draw(st.just("") | TEXT),
        question,
        status=status,
        problem=problem if status == "failed" else None,
        ended_at=draw(st.none() | MOMENT),
        model=draw(st.none() | TEXT),
        finish_reason=draw(st.none() | TEXT),
        feedback=draw(st.none() | opinion),
    )


def without_ids(document: dict[str, Any]) -> dict[str, Any]:
    """Return the file with the places of messages instead of their ids."""
    places = {None: None} | {m["id"]: i for i, m in enumerate(document["messages"])}
    return document | {
        "shown": places[document["shown"]],
        "messages": [
            m | {"id": places[m["id"]], "parent_id": places[m["parent_id"]]}
            for m in document["messages"]
        ],
    }


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(document=files())
async def test_what_is_exported_and_imported_is_exported_alike(
    client: httpx2.AsyncClient, document: dict[str, Any]
) -> None:
    exported = document
    ids = [m["id"] for m in document["messages"]]
    for _ in range(2):
        answer = await client.post("/chatroom/import", json=exported)
        assert answer.status_code == 201, answer.text
        exported = (await client.get(f"{answer.headers['location']}/export")).json()
        assert without_ids(exported) == without_ids(document)
        assert not {m["id"] for m in exported["messages"]} & set(ids)
        ids += [m["id"] for m in exported["messages"]]


async def test_an_imported_room_shows_its_branch_costs_nothing_and_goes_on(
    kept_outbox: None, app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    assert (await client.get("/chatroom")).json()["data"] == []
    a, b, c, d = dialogue("a", "A", "old", "OLD")
    e = message("user", "new", b)
    f = message("assistant", "NEW", e)

    answer = await client.post("/chatroom/import", json=file(a, b, c, d, e, f, shown=d["id"]))

    room = answer.json()
    assert (await client.get("/chatroom")).json()["data"] == [room]
    (event,) = await in_outbox(conn, ChatroomChanged)
    assert (event.user_id, event.change, event.chatroom) == (user_id, "created", room)
    path = await conn.fetch("SELECT content FROM message WHERE on_path ORDER BY id")
    assert [row["content"] for row in path] == ["a", "A", "old", "OLD"]
    assert await conn.fetchval("SELECT count(*) FROM quota") == 0
    posted = await post(app, UUID(room["id"]), user_id)
    newest = await conn.fetchval("SELECT content FROM message ORDER BY id DESC OFFSET 2 LIMIT 1")
    assert (posted.outcome, newest) == ("accepted", "NEW")


async def test_an_import_is_the_callers_whatever_the_file_says(
    client: httpx2.AsyncClient, issuer: TokenIssuer, conn: Connection
) -> None:
    room_id = await make_room(client, "a", "A")
    exported = (await client.get(f"/chatroom/{room_id}/export")).json()
    thief = new_id()

    answer = await client.post(
        "/chatroom/import", json=exported, headers=issuer.authorization(thief)
    )

    owners = await conn.fetch("SELECT id, user_id FROM chatroom WHERE id <> $1", UUID(room_id))
    assert [tuple(row) for row in owners] == [(UUID(answer.json()["id"]), thief)]
    assert await conn.fetchval("SELECT count(*) FROM message WHERE user_id = $1", thief) == 2


async def test_the_same_key_imports_once(client: httpx2.AsyncClient, conn: Connection) -> None:
    key = {"Idempotency-Key": "k"}
    answers = [
        await client.post("/chatroom/import", json=file(*dialogue("a", "A")), headers=key)
        for _ in range(2)
    ]

    assert answers[0].json() == answers[1].json()
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 1


async def test_an_open_reply_is_exported_as_stopped(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID
) -> None:
    room_id = await make_room(client, "a", "A")
    await post(app, UUID(room_id), user_id, "b")

    exported = (await client.get(f"/chatroom/{room_id}/export")).json()

    assert [m["status"] for m in exported["messages"]] == ["completed"] * 3 + ["stopped"]


async def test_a_long_room_is_exported_whole_and_in_order(client: httpx2.AsyncClient) -> None:
    texts = [f"{i}" for i in range(250)]
    room_id = await make_room(client, *texts)

    response = await client.get(f"/chatroom/{room_id}/export")

    assert [m["content"] for m in response.json()["messages"]] == texts
    expected = f'attachment; filename="chatroom-{room_id}.json"'
    assert response.headers["content-disposition"] == expected


async def test_markdown_tells_the_shown_branch(client: httpx2.AsyncClient) -> None:
    a = message("user", "a", None)
    hidden = message("assistant", "HIDDEN", a)
    problem = {"code": "x", "detail": "later", "retryable": True}
    shown = message("assistant", "half", a, status="failed", problem=problem)
    document = file(a, hidden, shown, title="On\n# tea")
    location = (await client.post("/chatroom/import", json=document)).headers["location"]

    response = await client.get(f"{location}/export?format=markdown")

    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["content-disposition"].endswith('.md"')
    assert response.text == (
        "# On # tea\n\n## You, 2026-01-02 03:04 UTC\n\na\n"
        "\n## Assistant, 2026-01-02 03:04 UTC\n\nhalf\n\n*(failed: later)*\n"
    )
    assert (await client.get(f"{location}/export?format=pdf")).status_code == 422


A, B, C, D = dialogue("a", "A", "b", "B")
STRAY = str(new_id())


@pytest.mark.parametrize(
    "document",
    [
        {},
        file(A, B) | {"version": 2},
        file(A, B) | {"format": "x"},
        file(A, B) | {"user_id": STRAY},
        file(A, B, user_id=STRAY),
        file(A, B, hidden=True),
        file(A, B, title=""),
        file(A, B, created_at="1969-01-01T00:00:00Z"),
        file(A, B, created_at="9999-12-31T23:59:59-23:59"),
        file(A, B, created_at="2026-01-01T00:00:00"),
        file(A, B, shown=STRAY),
        file(A, B, shown=A["id"]),
        file(A, B) | {"shown": None},
        file() | {"shown": STRAY},
        file(A),
        file(B),
        file(B, A, shown=B["id"]),
        file(A, B, B),
        file(A, B, C),
        file(A, B, C, shown=B["id"]),
        file(A, B, C | {"parent_id": STRAY}, D),
        file(A, B, C | {"parent_id": A["id"]}, D),
        file(A, B | {"parent_id": None}),
        file(A | {"parent_id": A["id"]}, B),
        file(A, B | {"role": "system"}),
        file(A | {"status": "stopped"}, B),
        file(A | {"content": " "}, B),
        file(A | {"content": "x" * 32_001}, B),
        file(A | {"feedback": {"thumb": "up"}}, B),
        file(A, B | {"content": ""}),
        file(A, B | {"content": "\x00"}),
        file(A, B | {"status": "queued"}),
        file(A, B | {"status": "running"}),
        file(A, B | {"on_path": False}),
        file(A, B | {"problem": {"code": "x"}}),
        file(A, B | {"feedback": {"thumb": "?"}}),
        file(A, B | {"model": "x" * 201}),
        file(A, B | {"id": "x"}),
    ],
)
async def test_what_is_no_export_of_ours_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient, conn: Connection, document: dict[str, Any]
) -> None:
    response = await client.post("/chatroom/import", json=document)

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 0


async def test_a_file_beyond_a_mebibyte_is_not_read(client: httpx2.AsyncClient) -> None:
    response = await client.post("/chatroom/import", json=file(*dialogue(*["x" * 30_000] * 40)))

    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")

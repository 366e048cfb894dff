from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.testing import TokenIssuer
from services.chat.store import search as store
from services.chat.tests.integration.posting import post
from services.chat.tests.integration.rooms import make_room

pytestmark = pytest.mark.integration


async def search(client: httpx2.AsyncClient, q: str, **params: Any) -> list[dict[str, Any]]:
    response = await client.get("/search", params={"q": q, **params})
    assert response.status_code == 200, response.text
    hits: list[dict[str, Any]] = response.json()["data"]
    return hits


async def test_titles_and_messages_are_found_with_what_matched_marked(
    client: httpx2.AsyncClient,
) -> None:
    room_id = await make_room(client, "How long does 🍵 Tea keep?", "a <b>year</b>", title="On tea")

    message, title = await search(client, "tea")

    assert (message["type"], message["role"], message["chatroom_title"]) == (
        *("message", "user"),
        "On tea",
    )
    assert (title["type"], title["id"], title["role"]) == ("chatroom", room_id, None)
    assert message["chatroom_id"] == title["chatroom_id"] == room_id
    for hit, found in ((message, "Tea"), (title, "tea")):
        assert [hit["snippet"][a:b] for a, b in hit["highlights"]] == [found]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("green tea", ["green tea", "tea that is green"]),
        ('"green tea"', ["green tea"]),
        ("tea -green", ["black tea"]),
        ("black or that", ["tea that is green", "black tea"]),
        ("GREEN", ["green tea", "tea that is green"]),
        ("gree", []),
        ("!!! ??", []),
        ("' | & ! ( ) : * <->", []),
    ],
)
async def test_words_are_combined_as_on_the_web(
    client: httpx2.AsyncClient, q: str, found: list[str]
) -> None:
    texts = ["green tea", "tea that is green", "black tea", "coffee"]
    await make_room(client, *texts, title="x")

    assert sorted(hit["snippet"] for hit in await search(client, q)) == sorted(found)


async def test_pages_hold_every_hit_once_the_newest_first(client: httpx2.AsyncClient) -> None:
    await make_room(client, *[f"tea {i}" for i in range(6)], title="tea")
    seen: list[str] = []
    params: dict[str, Any] = {"q": "tea", "limit": 2}
    while True:
        page = (await client.get("/search", params=params)).json()
        seen += [hit["snippet"] for hit in page["data"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["next_cursor"]

    assert seen == [*[f"tea {i}" for i in range(5, -1, -1)], "tea"]
    assert page["next_cursor"] is None


async def test_a_message_is_found_once_accepted_and_not_once_deleted(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await post(app, room_id, user_id, "oolong")
    assert [hit["snippet"] for hit in await search(client, "oolong")] == ["oolong"]

    await client.delete(f"/chatroom/{room_id}")

    assert await search(client, "oolong") == []


async def test_a_strangers_text_is_never_found(
    client: httpx2.AsyncClient, issuer: TokenIssuer, user_id: UUID
) -> None:
    """The stranger's own text names the user as the index does."""
    stranger = new_id()
    async with httpx2.AsyncClient(
        transport=client._transport, base_url="http://chat", headers=issuer.authorization(stranger)
    ) as other:
        marks = f"tea user:{user_id} 'user:{user_id}' http://user:{user_id}@x.y/user:{user_id}"
        await make_room(other, f"secret {marks}", "tea", title=f"tea {marks}")
        await make_room(client, "my own tea", "x", title="y")

        for q in ("tea", f"user:{stranger}", f'"user:{stranger}" or tea', "-nothing", "tea or x"):
            hits = await search(client, q)
            assert not any("secret" in hit["snippet"] or "user:" in hit["snippet"] for hit in hits)
        assert [hit["snippet"] for hit in await search(client, "tea")] == ["my own tea"]
        assert len(await search(other, "tea")) == 3


async def test_control_characters_in_a_text_mark_nothing(client: httpx2.AsyncClient) -> None:
    await make_room(client, "a \x01bad\x02 \x02tea\x01 \x01", "x", title="y")

    (hit,) = await search(client, "tea")

    assert [hit["snippet"][a:b] for a, b in hit["highlights"]] == ["tea"]
    assert not {"\x01", "\x02"} & set(hit["snippet"])


async def test_an_extract_is_short_whatever_the_text(client: httpx2.AsyncClient) -> None:
    await make_room(client, "y" * 15_000 + " tea " + "z" * 15_000, "tea " * 8000, title="y")

    hits = await search(client, "tea")

    assert len(hits) == 2
    for hit in hits:
        assert len(hit["snippet"]) <= 400
        assert {hit["snippet"][a:b] for a, b in hit["highlights"]} == {"tea"}


@pytest.mark.parametrize(
    "query",
    ["", "q=", "q=%20", "q=%00", f"q={'x' * 201}", "q=a&limit=0", "q=a&limit=101", "q=a&cursor=x"],
)
async def test_a_bad_search_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    response = await client.get(f"/search?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


class Explaining:
    """A connection that tells how it would run a query instead of running it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.plan = ""

    async def fetch(self, sql: str, *args: object) -> list[object]:
        values = ", ".join(
            "NULL" if arg is None else str(arg) if isinstance(arg, int) else f"'{arg}'"
            for arg in args
        )
        await self._conn.execute(f"DEALLOCATE ALL; PREPARE hits AS {sql}")
        rows = await self._conn.fetch(f"EXPLAIN EXECUTE hits ({values})")
        self.plan = "\n".join(row[0] for row in rows)
        return []


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_one_look_up_in_the_index_of_words_finds_only_the_owners_messages(
    conn: Connection, user_id: UUID, mode: str
) -> None:
    await conn.execute(
        """
        WITH room AS (
            INSERT INTO chatroom (id, user_id, title, created_at, active_at)
            SELECT gen_random_uuid(), gen_random_uuid(), 'tea ' || n, now(), now()
            FROM generate_series(1, 3000) n
            RETURNING id, user_id
        )
        INSERT INTO message (chatroom_id, id, user_id, role, status, content, created_at)
        SELECT id, gen_random_uuid(), user_id, 'user', 'completed', 'tea ' || n, now()
        FROM room, generate_series(1, 7) n
        """
    )
    await conn.execute("VACUUM ANALYZE chatroom, message")
    explaining = Explaining(conn)
    async with conn.transaction():
        await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await store.list_hits(
            explaining,  # type: ignore[arg-type] # it is all that the function uses
            user_id=user_id,
            words="tea",
            before=None,
            limit=21,
        )

    _, _, by_index = explaining.plan.partition("Bitmap Index Scan on message_search")
    condition = by_index.splitlines()[1]
    assert "Index Cond: (search @@" in condition
    assert "user:" in condition
    assert "Seq Scan" not in explaining.plan

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from services.chat.store import messages as store
from services.chat.tests.integration.posting import allow_everything, post, turn

pytestmark = pytest.mark.integration
BIG = 100_000


async def page(client: httpx2.AsyncClient, room_id: UUID, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/chatroom/{room_id}/message?{query}")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def contents(answer: dict[str, Any]) -> list[str]:
    """Return the texts oldest first."""
    return [message["content"] for message in answer["data"]][::-1]


async def talk(app: FastAPI, room_id: UUID, user_id: UUID, turns: int) -> list[str]:
    """Return the texts of that many turns, oldest first."""
    await allow_everything(app, user_id)
    for number in range(turns):
        await turn(app, room_id, user_id, f"q{number}", f"a{number}")
    return [text for number in range(turns) for text in (f"q{number}", f"a{number}")]


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
async def test_pages_in_both_directions_cover_everything_once(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, limit: int
) -> None:
    everything = await talk(app, room_id, user_id, 3)

    found: list[str] = []
    newest = answer = await page(client, room_id, f"limit={limit}")
    while True:
        found = contents(answer) + found
        assert answer["has_more"] == (answer["next_cursor"] is not None)
        if not answer["has_more"]:
            break
        answer = await page(client, room_id, f"limit={limit}&before={answer['next_cursor']}")
    assert newest["prev_cursor"] is None
    assert found == everything

    back = contents(answer)
    while answer["prev_cursor"]:
        answer = await page(client, room_id, f"limit={limit}&after={answer['prev_cursor']}")
        back += contents(answer)
        assert answer["has_more"] == (answer["prev_cursor"] is not None)
    assert back == everything


@pytest.mark.parametrize(
    ("of", "limit", "expected", "older", "newer"),
    [
        ("q2", 4, ["a1", "q2", "a2", "q3"], True, True),
        ("q2", 3, ["a1", "q2", "a2"], True, True),
        ("q2", 1, ["q2"], True, True),
        ("q0", 4, ["q0", "a0", "q1"], False, True),
        ("a3", 4, ["q3", "a3"], True, False),
        ("q2", 100, ["q0", "a0", "q1", "a1", "q2", "a2", "q3", "a3"], False, False),
    ],
)
async def test_a_message_is_shown_amid_its_neighbours(
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    of: str,
    limit: int,
    expected: list[str],
    older: bool,
    newer: bool,
) -> None:
    await talk(app, room_id, user_id, 4)
    message_id = await conn.fetchval("SELECT id FROM message WHERE content = $1", of)

    answer = await page(client, room_id, f"around={message_id}&limit={limit}")

    assert contents(answer) == expected
    assert (answer["next_cursor"] is not None, answer["prev_cursor"] is not None) == (older, newer)
    assert answer["has_more"] == (older or newer)


@pytest.mark.parametrize(
    "query",
    [
        "before={id}&after={id}",
        "before={id}&around={id}",
        "after={id}&around={id}",
        "before={id}&after={id}&around={id}",
        "around=x",
        "after=1",
        "limit=101",
    ],
)
async def test_cursors_exclude_one_another(
    client: httpx2.AsyncClient, room_id: UUID, query: str
) -> None:
    response = await client.get(f"/chatroom/{room_id}/message?{query.format(id=new_id())}")

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("cursor", ["before", "after", "around"])
async def test_a_cursor_of_another_room_shows_nothing_of_it(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, cursor: str
) -> None:
    other = UUID((await client.post("/chatroom", json={})).json()["id"])
    posted = await post(app, other, user_id, "foreign")
    await post(app, room_id, user_id, "own")

    answer = await page(client, room_id, f"{cursor}={posted.message_id}")

    assert "foreign" not in contents(answer)


async def test_pages_stay_stable_while_messages_arrive_and_branches_grow_d2(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    everything = await talk(app, room_id, user_id, 20)
    first_page = await page(client, room_id, "limit=3")

    async def write() -> None:
        for number in range(10):
            await turn(app, room_id, user_id, f"new {number}", "x")

    async def read() -> list[str]:
        found, answer = contents(first_page), first_page
        while answer["has_more"]:
            answer = await page(client, room_id, f"limit=3&before={answer['next_cursor']}")
            found = contents(answer) + found
        return found

    _, *found = await asyncio.gather(write(), read(), read())

    assert found == [everything, everything]


async def test_a_message_tells_what_a_client_draws(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    posted = await turn(app, room_id, user_id, "q", "a", client_message_id="mine")
    await conn.execute(
        "UPDATE message SET thumb = 'up', feedback_reason = 'good' WHERE id = $1", posted.reply_id
    )
    waiting = await post(app, room_id, user_id, "next")

    pending, _, reply, question = (await page(client, room_id))["data"]

    assert question["parts"] == [{"type": "text", "text": "q"}]
    assert question["client_message_id"] == "mine"
    assert question["feedback"] is None
    assert reply["feedback"] == {"thumb": "up", "reason": "good"}
    assert reply["sibling_ids"] == [reply["id"]]
    assert (pending["id"], pending["parts"]) == (str(waiting.reply_id), [])
    one = (await client.get(f"/chatroom/{room_id}/message/{posted.reply_id}")).json()
    assert one == reply


class Explained:
    """Stands in for a connection: runs the plan of the statement, and keeps it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.nodes: list[dict[str, Any]] = []

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        values = ", ".join(f"'{argument}'" for argument in arguments)
        await self._conn.execute(f"PREPARE explained AS {sql}")
        plan = await self._conn.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE explained ({values})"
        )
        await self._conn.execute("DEALLOCATE explained")
        self._walk(json.loads(plan)[0]["Plan"])
        return []

    def _walk(self, node: dict[str, Any]) -> None:
        self.nodes.append(node)
        for child in node.get("Plans", []):
            self._walk(child)


async def fill(conn: Connection, room_id: UUID, user_id: UUID) -> list[UUID]:
    """Store a room of `BIG` messages; three in four are on branches that nobody sees."""
    await conn.execute(
        """
        INSERT INTO message (chatroom_id, id, user_id, role, status, reply_to, parent_id, content,
            on_path, created_at)
        SELECT $1, make_id(n), $2, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, 'completed',
            CASE n % 2 WHEN 1 THEN make_id(n - 1) END, CASE WHEN n > 0 THEN make_id(n - 1) END,
            'x', n % 8 < 2, now()
        FROM generate_series(0, $3 - 1) n
        """.replace("make_id(n - 1)", "lpad(to_hex(n - 1), 32, '0')::uuid").replace(
            "make_id(n)", "lpad(to_hex(n), 32, '0')::uuid"
        ),
        room_id,
        user_id,
        BIG,
    )
    await conn.execute("ANALYZE message")
    return [UUID(int=BIG * share // 4) for share in (4, 3, 2, 1)]


async def test_a_page_reads_only_its_own_rows_at_any_depth_of_a_big_room_d1(
    room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    depths = await fill(conn, room_id, user_id)
    # The plan that PostgreSQL may take from the sixth time on, made for no value in particular.
    await conn.execute("SET plan_cache_mode = force_generic_plan")

    for depth in depths:
        for function, argument in (
            (store.list_messages_before, "before"),
            (store.list_messages_after, "after"),
        ):
            explained = Explained(conn)
            await function(
                explained,  # type: ignore[arg-type]
                chatroom_id=room_id,
                limit=21,
                **{argument: depth},
            )
            nodes = explained.nodes
            assert {node["Node Type"] for node in nodes} <= {
                "Limit",
                "Index Scan",
                "Index Only Scan",
                "Result",
            }
            (scan,) = [node for node in nodes if node.get("Alias") == "m"]
            assert scan["Index Name"] == "message_path"
            assert argument == "before" or depth.int == BIG or scan["Actual Rows"] == 21
            assert scan.get("Rows Removed by Filter", 0) == 0
            siblings = [node for node in nodes if node.get("Alias") == "s"]
            assert {node.get("Rows Removed by Filter", 0) for node in siblings} == {0}

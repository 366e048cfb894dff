import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.testing import TokenIssuer
from services.chat.actions import chatrooms

pytestmark = pytest.mark.integration


async def ids(client: httpx2.AsyncClient, path: str = "/chatroom") -> list[str]:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return [room["id"] for room in response.json()["data"]]


async def test_the_list_shows_a_change_as_soon_as_it_was_answered(
    client: httpx2.AsyncClient, redis: Redis, user_id: UUID
) -> None:
    seen: list[str] = []
    for title in ("a", "b", "c"):
        seen.insert(0, (await client.post("/chatroom", json={"title": title})).json()["id"])
        assert await ids(client) == seen
        assert await ids(client) == seen

    await client.post(f"/chatroom/{seen[2]}/message", json={"content": "hi"})

    assert await ids(client) == [seen[2], seen[0], seen[1]]


async def test_the_list_comes_from_redis_and_only_from_the_callers_key(
    app: FastAPI, client: httpx2.AsyncClient, redis: Redis, user_id: UUID, issuer: TokenIssuer
) -> None:
    await client.post("/chatroom", json={})
    await app.state.resources.cache.aclose()
    await ids(client)

    assert await redis.get(chatrooms.rooms_key(user_id)) is not None
    await app.state.resources.db.execute("DELETE FROM chatroom")
    assert len(await ids(client)) == 1
    foreign = await client.get("/chatroom", headers=issuer.authorization(new_id()))
    assert foreign.json()["data"] == []


async def test_readers_and_writers_at_once_never_end_with_a_stale_list(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    created: list[str] = []

    async def write() -> None:
        for _ in range(10):
            created.append((await client.post("/chatroom", json={})).json()["id"])
            assert created[-1] in await ids(client)

    async def read() -> None:
        for _ in range(40):
            await ids(client)

    await asyncio.gather(write(), read(), read())
    await app.state.resources.cache.aclose()

    assert await ids(client) == created[::-1]


async def test_pages_cover_everything_once(client: httpx2.AsyncClient) -> None:
    expected = [(await client.post("/chatroom", json={})).json()["id"] for _ in range(5)][::-1]
    found: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/chatroom?limit=2{cursor}")).json()
        found += [room["id"] for room in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert found == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=AAAA"])
async def test_a_bad_page_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    response = await client.get(f"/chatroom?{query}")

    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed_request"),
        (b'{"content": "\xff"}', {}, 400, "malformed_request"),
        (b"[" * 100_000, {}, 400, "malformed_request"),
        (b'{"content": NaN}', {}, 422, "validation_failed"),
        (b'{"content": "a\\u0000b"}', {}, 422, "validation_failed"),
        (b'{"content": "\\ud800"}', {}, 422, "validation_failed"),
        (b'{"content": 5}', {}, 422, "validation_failed"),
        (b'{"content": ""}', {}, 422, "validation_failed"),
        (b'{"content": " \\n "}', {}, 422, "validation_failed"),
        (b'{"content": "%s"}' % (b"x" * 32_001), {}, 422, "validation_failed"),
        (b'{"content": "x", "role": "admin"}', {}, 422, "validation_failed"),
        (b"{}", {}, 422, "validation_failed"),
        (b'"x"', {}, 422, "validation_failed"),
        (b'{"content": "%s"}' % (b"x" * (1 << 20)), {}, 413, "payload_too_large"),
        (b'{"content": "x"}', {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b'{"content": "x"}', {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        (b'{"content": "x"}', {"authorization": "Bearer x"}, 401, "unauthenticated"),
        (b'{"content": "x"}', {"authorization": "Basic x"}, 401, "unauthenticated"),
    ],
)
async def test_bad_input_gets_a_problem_and_changes_nothing(
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    response = await client.post(
        f"/chatroom/{room_id}/message",
        content=body,
        headers={"content-type": "application/json", **headers},
    )

    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert isinstance(problem["detail"], str)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert await app.state.resources.db.fetchval("SELECT count(*) FROM message") == 0


@pytest.mark.parametrize(
    ("media_type", "status", "code"),
    [
        ("application/json", 413, "payload_too_large"),
        ("text/plain", 415, "unsupported_media_type"),
    ],
)
async def test_a_chunked_body_is_no_way_around_the_limits(
    client: httpx2.AsyncClient, room_id: UUID, media_type: str, status: int, code: str
) -> None:
    async def stream() -> Any:
        for chunk in (b'{"content": "', *[b"x" * 1000] * 1100, b'"}'):
            yield chunk

    response = await client.post(
        f"/chatroom/{room_id}/message",
        content=stream(),
        headers={"content-type": media_type},
    )

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/chatroom/", 404, "not_found"),
        ("PUT", "/chatroom", 405, "method_not_allowed"),
        ("GET", "/chatroom/no-uuid/message", 422, "validation_failed"),
        ("GET", f"/chatroom/{UUID(int=1)}/message", 404, "chatroom_not_found"),
        ("GET", f"/chatroom/{UUID(int=1)}/message?limit=1000", 422, "validation_failed"),
    ],
)
async def test_wrong_paths_and_methods_get_a_problem(
    client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def test_what_is_accepted_is_kept_as_it_was_typed(
    client: httpx2.AsyncClient, room_id: UUID
) -> None:
    text = "  <b>é</b> 🍵 \u202e\r\n\t \\u0000 '; DROP TABLE message; -- "

    await client.post(f"/chatroom/{room_id}/message", json={"content": text})

    page = (await client.get(f"/chatroom/{room_id}/message")).json()
    assert page["data"][-1]["content"] == text


async def test_a_message_is_found_in_its_own_room_only(
    client: httpx2.AsyncClient, room_id: UUID
) -> None:
    other = (await client.post("/chatroom", json={})).json()["id"]
    posted = await client.post(f"/chatroom/{room_id}/message", json={"content": "hi"})
    message_id = posted.json()["message"]["id"]

    found = await client.get(f"/chatroom/{room_id}/message/{message_id}")
    elsewhere = await client.get(f"/chatroom/{other}/message/{message_id}")

    assert (found.status_code, elsewhere.status_code) == (200, 404)
    assert (await client.get(f"/chatroom/{other}/message")).json()["data"] == []


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"nbf": 9_999_999_999},
        {"aud": "other"},
        {"aud": None},
        {"iss": "other"},
        {"sub": None},
        {"sub": "no-uuid"},
        {"exp": None},
        {"sid": None},
    ],
)
async def test_a_token_that_is_not_for_us_opens_nothing(
    client: httpx2.AsyncClient, issuer: TokenIssuer, user_id: UUID, claims: dict[str, Any]
) -> None:
    response = await client.get(
        "/chatroom", headers={"authorization": f"Bearer {issuer.token(user_id, **claims)}"}
    )

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_strangers_issuer_opens_nothing(client: httpx2.AsyncClient, user_id: UUID) -> None:
    response = await client.get("/chatroom", headers=TokenIssuer().authorization(user_id))

    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")

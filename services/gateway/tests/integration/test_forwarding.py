import asyncio
import random

import httpx2
import pytest

from libs.common.clock import new_id
from services.gateway.tests.integration.conftest import FakeServices, Start

JSON = {"Content-Type": "application/json"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_each_of_many_concurrent_requests_gets_its_own_answer(
    client: httpx2.AsyncClient,
) -> None:
    chance = random.Random(1)

    async def echo(number: int) -> bool:
        body = str(number).encode() * chance.choice([1, 7, 500, 5_000, 40_000])
        answer = await client.post(f"/auth/echo?n={number}", content=body, headers=JSON)
        return answer.status_code == 200 and answer.content == body

    async def abort(number: int) -> None:
        body = b"aborted%d" % number * 20_000
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(
            b"POST /auth/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body[: chance.choice([len(body), 1000])])
        await writer.drain()
        await asyncio.sleep(chance.random() / 50)  # anywhere between the request and the answer
        writer.transport.abort()

    work = [
        abort(number) if number % 5 == 0 else echo(number)
        for _ in range(4)
        for number in range(1, 251)
    ]
    results = await asyncio.gather(*work)

    assert results.count(True) == 800
    assert False not in results


async def test_what_is_forwarded_is_what_the_client_sent_and_nothing_it_made_up(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6", "X-User-Id": "1", "X-Request-Id": "abc", "X-Mine": "y"}

    answer = await client.post("/auth/login?a=%20b", json={"x": 1}, headers=headers)

    scope = fakes.last_asked("/auth/login")
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert scope["query_string"] == b"a=%20b"
    assert (seen["x-forwarded-for"], seen["x-request-id"], seen["x-mine"]) == (
        "127.0.0.1",
        "abc",
        "y",
    )
    assert "x-user-id" not in seen
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers.get_list("date") == [answer.headers["date"]]
    assert "server" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "unauthenticated"),
        ({"Authorization": "Basic x"}, "unauthenticated"),
        ({"Authorization": "Bearer x.y.z"}, "unauthenticated"),
    ],
)
async def test_without_a_valid_token_nothing_is_forwarded(
    client: httpx2.AsyncClient, fakes: FakeServices, headers: dict[str, str], code: str
) -> None:
    answer = await client.get("/user/me", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "/user/me" not in [scope["path"] for scope in fakes.seen]


async def test_an_expired_token_is_told_apart_and_a_good_one_is_forwarded(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    user_id = new_id()

    old = await client.get("/user/me", headers=bearer(fakes.token(user_id, age_s=1000)))
    token = fakes.token(user_id)
    good = await client.get("/user/me", headers=bearer(token))

    assert (old.status_code, old.json()["code"]) == (401, "token_expired")
    assert good.status_code == 200
    assert (b"authorization", f"Bearer {token}".encode()) in fakes.last_asked("/user/me")["headers"]


@pytest.mark.parametrize(
    "target",
    ["/auth/../health/live", "/auth/%2e%2e/x", "//auth/x", "/auth%2fx", "/auth/%00", "/nothing"],
)
async def test_path_tricks_and_unknown_paths_are_not_found(
    client: httpx2.AsyncClient, fakes: FakeServices, target: str
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'"code":"not_found"' in answer
    assert {scope["path"] for scope in fakes.seen} <= {"/openapi.json"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * ((1 << 20) + 1), JSON, 413),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"x", {**JSON, "Content-Encoding": "gzip"}, 415),
        (b"x" * (1 << 20), JSON, 200),
    ],
)
async def test_bodies_that_no_service_reads_stop_here(
    client: httpx2.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/auth/x", content=content, headers=headers)

    assert answer.status_code == status


async def test_a_body_without_a_length_is_limited_too(client: httpx2.AsyncClient) -> None:
    async def endless() -> object:
        for _ in range(20):
            yield b"x" * 100_000

    answer = await client.post("/auth/x", content=endless(), headers=JSON)  # type: ignore[arg-type]

    assert answer.status_code == 413


async def test_a_service_that_is_away_is_a_problem_that_says_so(start_gateway: Start) -> None:
    async with start_gateway(auth_url="http://127.0.0.1:23599") as client:
        answer = await client.post("/auth/x", json={})

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert "23599" not in answer.text


async def test_the_document_shows_public_paths_of_services_and_gateway(
    client: httpx2.AsyncClient,
) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    document, paths = {}, set[str]()
    while "/chatroom" not in paths and asyncio.get_running_loop().time() < deadline:
        document = (await client.get("/openapi.json")).json()
        paths = set(document["paths"])

    own = {
        "/chatroom/{chatroom_id}/message/{reply_id}/stream",
        *("/chatroom/{chatroom_id}/stream", "/event", "/ws/ticket", "/user/me/export"),
        *("/openai/v1/chat/completions", "/openai/v1/models"),
    }
    assert paths == {"/user/me", "/chatroom"} | own
    assert document["info"]["title"] == "Thoughtflow"
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


async def test_the_documentation_works_without_the_internet(client: httpx2.AsyncClient) -> None:
    start, docs = await client.get("/"), await client.get("/docs")

    assert "/docs" in start.text
    assert "https://" not in docs.text
    script = await client.get("/static-offline-docs/swagger-ui-bundle.js")
    assert script.status_code == 200


async def test_the_services_health_is_not_public_and_the_gateways_is(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    answer = await client.get("/health/ready")

    assert answer.json() == {"status": "ok", "checks": {"upstreams": True}}
    assert "/health/ready" not in [scope["path"] for scope in fakes.seen]

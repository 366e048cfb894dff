"""The edge of the whole system: who is believed, what is reflected, whom it calls."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from libs.common.clock import new_id
from services.gateway.tests.integration.tricks import IDENTITY_HEADERS
from tests.e2e.operations import operations
from tests.e2e.person import Person, ticket_for
from tests.e2e.stack import Stack
from tests.e2e.traces import places_that_name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
DOORS = {
    "auth": ("GET /user/me", "PATCH /user/me", "DELETE /user/me", "GET /auth/session"),
    "chat": ("GET /chatroom", "POST /chatroom", "POST /completion", "GET /search?q=x"),
    "ai": ("GET /model",),
    "billing": ("GET /subscription/status", "POST /subscribe/pro"),
}


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen; yield the address, and what each connection said first."""
    heard: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(b"")
        with suppress(TimeoutError):
            heard[-1] = await asyncio.wait_for(reader.read(1000), 1)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


async def test_a_service_called_directly_believes_the_token_alone(
    stack: Stack, person: Person
) -> None:
    """G2, G3: 36 headers that say who calls, at every service and at the gateway."""
    me = await person.call("GET", "/user/me")
    forged = dict.fromkeys(IDENTITY_HEADERS, me["id"]) | {"X-Role": "admin", "X-Sid": me["id"]}
    gateway = stack.url("gateway")
    async with httpx2.AsyncClient(timeout=30) as http:
        for service, doors in DOORS.items():
            for base in (stack.processes(service)[0]["url"], gateway):
                for door in doors:
                    method, path = door.split()
                    body: dict[str, str] | None = {} if method in {"POST", "PATCH"} else None
                    answer = await http.request(method, base + path, headers=forged, json=body)
                    assert answer.status_code in {401, 404}, (base, door, answer.text)
                    assert answer.status_code == 401 or path == "/completion", (base, door)
    assert await person.call("GET", "/user/me") == me


async def test_a_header_does_not_make_one_somebody_else(person: Person, stranger: Person) -> None:
    """G2: with a token of one's own, and everything pointing to another user."""
    me, other = await person.call("GET", "/user/me"), await stranger.call("GET", "/user/me")

    forged = dict.fromkeys(IDENTITY_HEADERS, other["id"])
    answer = await person.http.get("/user/me", headers=forged, params={"user_id": other["id"]})

    assert answer.json()["id"] == me["id"]


async def test_a_forged_host_shows_nowhere(stack: Stack, person: Person) -> None:
    """G6: neither in a redirect nor in a body, with and without a slash too many."""
    evil = "evil.example"
    forms = ({"Host": evil}, {"X-Forwarded-Host": evil}, {"Forwarded": f"host={evil};proto=https"})
    paths = ("/", "/docs", "/openapi.json", "/chatroom", "/chatroom/", "/user/me/", "/nothing")
    for forged in forms:
        for path in paths:
            answer = await person.http.get(path, headers=forged, follow_redirects=False)
            assert answer.status_code in {200, 404}, (forged, path)
            assert evil not in str(answer.headers) + answer.text, (forged, path)


async def test_nothing_is_called_on_a_users_word(person: Person) -> None:
    """G11: its address in every field, parameter and likely header of every operation."""
    async with counting() as (address, heard):
        url = f"http://{address}/x"
        headers = dict.fromkeys(("Referer", "Origin", "X-Callback-Url", "Webhook-Url"), url)
        headers |= {"X-Forwarded-Host": address, "Idempotency-Key": url}
        for operation in await operations(person.http):
            if operation.method == "DELETE" or str(operation) == "POST /auth/logout":
                continue
            request = operation.request()
            texts = [name for name, of in operation.fields.items() if of.get("type") == "string"]
            for name in texts or [""]:
                if name:
                    request["json"] = {**operation.body, name: url}
                request["params"] = {**operation.query, "url": url, "q": url}
                async with person.http.stream(**request, headers=headers):
                    pass
        room = await person.room()
        await person.post(room, f"Please fetch {url} and ![an image]({url}).")
        await person.ended(room)
        assert heard == []

        async with httpx2.AsyncClient() as http:
            with suppress(httpx2.TransportError):
                await http.get(url)
        assert len(heard) == 1  # it does hear


@pytest.mark.chaos
async def test_a_frozen_service_is_told_of_in_time_and_others_go_on(
    stack: Stack, person: Person
) -> None:
    """G12: 502, 503 or 504 within 15 s; meanwhile p95 of the others below 500 ms."""
    assert (await person.http.get("/chatroom")).status_code == 200
    (name, *_) = (each["name"] for each in stack.processes("chat"))
    others: list[float] = []
    with stack.frozen(name):
        began = time.monotonic()
        asked = asyncio.create_task(person.http.post("/chatroom", json={"title": "x"}))
        while not asked.done():
            at = time.monotonic()
            answer = await person.http.get("/user/me")
            others.append(time.monotonic() - at)
            assert answer.status_code == 200
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - began
        refused = await asked
    await stack.ready()

    assert refused.status_code in {502, 503, 504} or len(stack.processes("chat")) > 1
    assert took_s <= 15
    assert sorted(others)[int(len(others) * 0.95)] < 0.5


async def test_no_code_and_no_token_is_kept_in_clear(stack: Stack) -> None:
    """P2: in no table, queue or key, while they are good and after their use."""
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        who = {"email": f"{new_id()}@example.com"}
        await http.post("/auth/signup", json=who)
        otp = (await http.post("/auth/send-otp", json=who)).json()["otp"]
        codes = await stack.query(
            lambda conn: conn.fetch("SELECT to_jsonb(o)::text AS row FROM auth.one_time_code o")
        )
        login = (await http.post("/auth/verify-otp", json={**who, "otp": otp})).json()
        bearer = {"Authorization": f"Bearer {login['access_token']}"}
        await http.get("/chatroom", headers=bearer)
        ticket = await ticket_for(http, headers=bearer)
        again = await http.post("/auth/refresh", json={"refresh_token": login["refresh_token"]})

    secrets = [login["access_token"], login["refresh_token"], ticket]
    secrets += [again.json()["access_token"], again.json()["refresh_token"]]
    assert codes
    assert [row for row in codes if otp in str(row["row"]).replace("-", " ").split()] == []
    assert await places_that_name(stack, secrets) == set()
    assert await places_that_name(stack, [who["email"]])  # it does look

"""API keys, with every service running: what they open, and how that ends."""

import asyncio
from typing import Any

import httpx2
import pytest

from libs.common.api_keys import make_key
from libs.common.testing import eventually
from services.gateway.tests.integration.socket_client import socket_to
from tests.e2e.person import Person
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PATH = "/user/me/api-key"
PATHS = ("/chatroom", "/user/me", "/nothing")


async def make(person: Person, *scopes: str) -> dict[str, Any]:
    return await person.call("POST", PATH, {"name": "a program", "scopes": list(scopes)})


def program(stack: Stack, key: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(base_url=stack.url("gateway"), headers=headers, timeout=30)


async def test_a_program_with_a_key_chats_as_its_user(stack: Stack, person: Person) -> None:
    key = (await make(person, "chat", "read"))["key"]
    async with program(stack, key) as http:
        room = (await http.post("/chatroom", json={"title": "by key"})).json()["id"]
        waiting = {"Prefer": "wait=20"}
        post = f"/chatroom/{room}/message"
        answered = await http.post(post, json={"content": "What is 2 + 3?"}, headers=waiting)
        body = {"messages": [{"role": "user", "content": "What is 2 + 4?"}]}
        completed = await http.post("/openai/v1/chat/completions", json=body)
        me = (await http.get("/user/me")).json()
        status = await http.get("/subscription/status")
        async with socket_to(http, key) as socket:
            listening = await socket.ask(op="subscribe")

    assert answered.status_code == 201, answered.text
    assert completed.json()["choices"][0]["message"]["content"]
    assert status.status_code == 200
    assert listening["op"] == "ok"
    assert [each["id"] for each in (await person.call("GET", "/chatroom"))["data"]] == [room]
    assert me["id"] == (await person.call("GET", "/user/me"))["id"]


async def test_a_key_neither_manages_its_account_nor_exceeds_its_scopes(
    stack: Stack, person: Person
) -> None:
    """Z2, Z3: no key makes keys, ends sessions, or buys."""
    made = await make(person, "chat", "read")
    reading = (await make(person, "read"))["key"]
    forbidden = [
        *(("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/{made['id']}")),
        *(("GET", "/auth/session"), ("POST", "/auth/logout"), ("POST", "/subscribe/pro")),
    ]
    async with program(stack, made["key"]) as http, program(stack, reading) as reader:
        answers = [await http.request(*each, json={}) for each in forbidden]
        refused = await reader.post("/chatroom", json={})
        read = await reader.get("/chatroom")
        internal = await http.post("/exchange", json={"credential": made["key"]})

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (403, "login_required")
    }
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (read.status_code, internal.status_code) == (200, 404)


async def test_a_deleted_key_is_refused_by_every_gateway_within_a_second(
    stack: Stack, person: Person
) -> None:
    made = await make(person, "chat")
    async with program(stack, made["key"]) as http:
        for url in stack.gateways():
            assert (await http.get(f"{url}/chatroom")).status_code == 200
        answer = await person.http.delete(f"{PATH}/{made['id']}")

        async def is_refused() -> bool:
            answers = [await http.get(f"{url}/chatroom") for url in stack.gateways()]
            return {each.status_code for each in answers} == {401}

        await eventually(is_refused, within_s=1)

    assert answer.status_code == 204


async def test_no_key_is_in_a_log(stack: Stack, person: Person) -> None:
    """P1: neither a good one nor one that was made up."""
    keys = [(await make(person, "chat"))["key"], make_key()]
    for key in keys:
        async with program(stack, key) as http:
            await asyncio.gather(*(http.get(path) for path in PATHS))

    logs = "".join(path.read_text(errors="replace") for path in stack.home.glob("logs/*.log"))

    assert "request" in logs  # they are the right files
    assert [key for key in keys if key[3:] in logs] == []

import asyncio
import time

import httpx2
import pytest

from libs.common.clock import new_id
from tests.e2e.person import Person
from tests.e2e.stack import LIMIT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def test_a_message_is_answered_and_its_stream_equals_the_stored_reply(person: Person) -> None:
    room = await person.room()

    accepted = (await person.post(room, "What is 2 + 3?")).json()
    text, end = await person.follow(accepted["stream_url"])

    assert end["type"] == "generation.completed"
    question, reply = await person.ended(room)
    assert (question["content"], reply["status"]) == ("What is 2 + 3?", "completed")
    assert reply["content"] == text != ""
    assert reply["id"] == accepted["reply"]["id"]
    again, _ = await person.follow(accepted["stream_url"])
    assert again == text


async def test_who_waited_for_a_reply_may_edit_its_message_at_once(person: Person) -> None:
    room = await person.room()
    path, method = f"/chatroom/{room}/message", "POST"

    for number in range(LIMIT):
        waited = await person.http.request(
            method, path, json={"content": f"m{number}"}, headers={"prefer": "wait=20"}
        )
        assert waited.status_code == 201, waited.text
        path, method = f"/chatroom/{room}/message/{waited.json()['message']['id']}", "PATCH"


async def test_paying_lifts_the_limit_within_two_seconds(person: Person, stack: Stack) -> None:
    """C6: counted from the payment, which is before the status says so."""
    room = await person.room()
    answers = await asyncio.gather(*(person.post(room, f"m{i}") for i in range(LIMIT + 3)))
    assert sorted(a.status_code for a in answers) == [202] * LIMIT + [429] * 3

    checkout = await person.call("POST", "/subscribe/pro", {})
    paid = httpx2.post(f"{stack.url('stripe')}/_emulator/pay/{checkout['session_id']}", json={})
    assert paid.status_code == 200, paid.text
    started = time.monotonic()
    while (await person.post(room, "now?")).status_code != 202:
        assert time.monotonic() - started < 2
        await asyncio.sleep(0.05)

    assert (await person.call("GET", "/subscription/status"))["plan"] == "pro"
    messages = await person.ended(room)
    assert [m["role"] for m in messages] == ["user", "assistant"] * (LIMIT + 1)
    assert {m["status"] for m in messages} == {"completed"}


async def test_a_stranger_gets_404_for_everything_of_mine(person: Person, stranger: Person) -> None:
    room = await person.room()
    accepted = (await person.post(room, "secret")).json()
    paths = [
        ("GET", f"/chatroom/{room}/message"),
        ("GET", f"/chatroom/{room}/message/{accepted['message']['id']}"),
        ("GET", accepted["stream_url"]),
        ("GET", f"/chatroom/{new_id()}/message/{new_id()}/stream"),
    ]

    for method, path in paths:
        answer = await stranger.http.request(method, path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await stranger.post(room, "hi")).status_code == 404


async def test_one_document_describes_the_ten_endpoints(stack: Stack) -> None:
    async with httpx2.AsyncClient(base_url=stack.url("gateway")) as http:
        document = (await http.get("/openapi.json")).json()
        docs = await http.get("/docs")

    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    rooms = next(
        path
        for _, path in described
        if path.startswith("/chatroom/{") and path.endswith("/message")
    )
    assert described >= {
        ("POST", "/auth/signup"),
        ("POST", "/auth/send-otp"),
        ("POST", "/auth/verify-otp"),
        ("GET", "/user/me"),
        ("GET", "/chatroom"),
        ("POST", "/chatroom"),
        ("POST", rooms),
        ("POST", "/subscribe/pro"),
        ("GET", "/subscription/status"),
        ("POST", "/webhook/stripe"),
    }
    assert docs.status_code == 200
    assert "http://" not in docs.text.replace("http://127", "")
    assert "https://" not in docs.text


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/nothing", None, {}, 404),
        ("GET", "/chatroom", None, {}, 401),
        ("GET", "/user/me", None, {"authorization": "Bearer x"}, 401),
        ("GET", "/user/me", None, {"x-user-id": str(new_id())}, 401),
        ("DELETE", "/auth/signup", None, {}, 405),
        ("POST", "/auth/signup", b"{", {"content-type": "application/json"}, 400),
        ("POST", "/auth/signup", b"x" * (1 << 20 | 1), {"content-type": "application/json"}, 413),
        ("POST", "/auth/signup", b"{}", {"content-type": "text/plain"}, 415),
        ("POST", "/auth/signup", b'{"x": 1}', {"content-type": "application/json"}, 422),
        ("POST", "/webhook/stripe", b"{}", {"content-type": "application/json"}, 400),
    ],
)
async def test_bad_input_gets_a_problem_with_a_code(
    stack: Stack,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
) -> None:
    async with httpx2.AsyncClient(base_url=stack.url("gateway")) as http:
        answer = await http.request(method, path, content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= answer.json().keys()

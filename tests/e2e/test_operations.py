"""What holds for every operation that is documented, whoever adds one."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import httpx2
import pytest

from libs.common.clock import new_id
from tests.e2e.operations import Operation, operations
from tests.e2e.person import Person
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PUBLIC = {
    *("POST /auth/signup", "POST /auth/send-otp", "POST /auth/verify-otp", "POST /auth/refresh"),
    *("POST /auth/guest", "POST /auth/verify-factor"),
    *("GET /.well-known/jwks.json", "POST /webhook/stripe"),
    *("GET /subscription/complete", "GET /subscription/cancelled", "GET /subscription/returned"),
}
"""What asks for no access token: logging in, the public keys, Stripe's webhook and its pages."""

OURS: dict[str, str | int] = {
    **dict.fromkeys(("id", "user_id", "sub", "owner_id", "account_id"), str(new_id())),
    **dict.fromkeys(("plan", "tier", "status"), "pro"),
    **dict.fromkeys(("price", "price_id", "customer"), "price_free"),
    **dict.fromkeys(("success_url", "cancel_url", "return_url"), "https://evil.example"),
    "role": "admin",
    "is_admin": True,
    "amount": 0,
}
"""Fields that the server alone decides."""

Ids = dict[str, str]
Answer = tuple[int, Any]


@pytest.fixture
async def anybody(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        yield http


async def things_of(person: Person, word: str) -> Ids:
    """Write `word` wherever there is room for one; return the ids by the names of slots."""
    await person.call("PATCH", "/user/me", {"name": word})
    room = str((await person.call("POST", "/chatroom", {"title": word}))["id"])
    posted = (await person.post(room, word)).json()
    await person.ended(room)
    session = (await person.call("GET", "/auth/session"))["data"][0]["id"]
    return {
        "chatroom_id": room,
        "message_id": posted["message"]["id"],
        "reply_id": posted["reply"]["id"],
        "session_id": session,
        "user_id": str((await person.call("GET", "/user/me"))["id"]),
    }


def id_for(operation: Operation, name: str, ids: Ids) -> str:
    """Return what a slot is for; those of a page's bounds hold the id of what is listed."""
    listed = {"/chatroom": "chatroom_id", "/auth/session": "session_id"}
    return ids.get(name) or ids[listed.get(operation.path, "message_id")]


async def answer_to(person: Person, operation: Operation, ids: Mapping[Any, str]) -> Answer:
    request = operation.request(ids)
    async with person.http.stream(**request) as response:
        if response.headers["content-type"].startswith("text/event-stream"):
            return response.status_code, await anext(response.aiter_lines())
        body = await response.aread()
        told = response.json() if body else None
    if isinstance(told, dict):
        told.pop("request_id", None)
    return response.status_code, told


async def test_what_is_another_users_is_as_good_as_none(
    stack: Stack, person: Person, stranger: Person
) -> None:
    """Z1: in every slot for an id of every documented operation, alone and together."""
    word = f"word{new_id().hex}"
    theirs, own = await things_of(person, word), await things_of(stranger, "mine")
    # Neighbours of theirs, as a page that begins at an id depends on where in time that lies.
    none = {name: str(UUID(int=UUID(each).int ^ 1)) for name, each in theirs.items()}
    before = await everything_of(person, theirs)
    compared: Counter[str] = Counter()

    for operation in await operations(stranger.http):
        every = set(operation.slots)
        places = {slot for slot in every if slot[0] == "path"}
        for foreign in [*({slot} for slot in every), *([places] if len(places) > 1 else [])]:
            answers = []
            for others in (theirs, none):
                ids = {
                    slot: id_for(operation, slot[1], others if slot in foreign else own)
                    for slot in every
                    if slot in places | foreign
                }
                answers.append(await answer_to(stranger, operation, ids))
            assert answers[0] == answers[1], (str(operation), foreign)
            assert word not in str(answers[0]), str(operation)
            if foreign & places:
                refused = 403 if operation.path.startswith("/admin/") else 404
                assert answers[0][0] == refused, (str(operation), foreign, answers[0])
            compared.update(place for place, _ in foreign)

    assert compared["path"] >= 20
    assert compared["query"] >= 5
    assert compared["body"] >= 2
    assert await everything_of(person, theirs) == before


async def everything_of(person: Person, ids: Ids) -> list[Any]:
    paths = ("/user/me", f"/chatroom/{ids['chatroom_id']}", "/chatroom")
    told = [await person.call("GET", path) for path in paths]
    sessions = await person.call("GET", "/auth/session")
    return [*told, await person.messages(ids["chatroom_id"]), [s["id"] for s in sessions["data"]]]


async def test_an_operation_without_a_token_is_refused(anybody: httpx2.AsyncClient) -> None:
    """Z2: every documented one but the few that are for anybody."""
    every = await operations(anybody)

    for operation in every:
        for headers in ({}, {"Authorization": "Bearer x.y.z"}):
            answer = await anybody.request(**operation.request(), headers=headers)
            is_refused = answer.status_code == 401 and "unauthenticated" in answer.text
            assert is_refused == (str(operation) not in PUBLIC), (str(operation), answer.text)

    assert {str(operation) for operation in every} >= PUBLIC
    assert len(every) - len(PUBLIC) >= 17


async def test_what_the_server_decides_no_body_sets(person: Person) -> None:
    """Z3: owner, role, plan, price and where to return; a field more is refused."""
    me = await person.call("GET", "/user/me")
    tried = 0

    for operation in await operations(person.http):
        if not operation.fields:
            continue
        for name in OURS.keys() - operation.fields.keys():
            request = operation.request()
            request["json"] = {**request["json"], name: OURS[name]}
            answer = await person.http.request(**request)
            if operation.path.startswith("/admin/"):
                assert answer.status_code == 403
                continue
            assert answer.status_code in {404, 422}, (str(operation), name, answer.text)
            if answer.status_code == 422:
                told = {error["pointer"] for error in answer.json().get("errors", [])}
                assert f"/{name}" in told, (str(operation), name, answer.text)
                tried += 1

    assert tried >= 10 * len(OURS)
    assert await person.call("GET", "/user/me") == me


async def test_no_word_of_a_subscriber_gets_to_the_checkout(stack: Stack, person: Person) -> None:
    """Z3, G6: neither a price nor a URL, from the body, the query or the Host."""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    refused = await person.http.post("/subscribe/pro", json=OURS, headers=headers)
    answer = await person.http.post("/subscribe/pro", params=OURS, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed")

    assert answer.status_code == 201, answer.text
    async with httpx2.AsyncClient(base_url=stack.url("stripe")) as stripe:
        kept = await stripe.get(
            f"/v1/checkout/sessions/{answer.json()['session_id']}",
            params={"expand[]": "line_items"},
            headers={"authorization": "Bearer sk_test_anything"},
        )
    session = kept.json()
    assert session["success_url"].startswith(stack.url("gateway"))
    assert session["cancel_url"].startswith(stack.url("gateway"))
    assert session["line_items"]["data"][0]["price"]["id"] == "price_pro_monthly"
    assert "evil" not in kept.text + answer.text


async def test_ids_cannot_be_guessed_from_others(person: Person) -> None:
    """Z4: of rooms, messages and replies that come one right after the other."""
    rooms = [await person.room() for _ in range(20)]
    posted = [(await person.post(room, "x")).json() for room in rooms[:5]]
    ids = [UUID(room) for room in rooms]
    ids += [UUID(each[part]["id"]) for each in posted for part in ("message", "reply")]

    tails = [each.int & 0xFFFFFFFF for each in ids]

    # Neither a counter nor a clock nor the machine: each bit is both, and neighbours are far apart.
    assert all(len({tail >> bit & 1 for tail in tails}) == 2 for bit in range(32))
    distances = [abs(one - other) for one, other in itertools.pairwise(tails)]
    assert min(distances) > 100
    assert len(set(ids)) == len(ids)

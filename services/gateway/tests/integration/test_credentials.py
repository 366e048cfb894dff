"""API keys at the edge: what auth is asked, what is forwarded, and what becomes of the answer."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.api_keys import make_key
from libs.common.broker import make_brokers
from libs.common.clock import new_id, utc_now
from libs.common.events import SessionRevoked
from libs.common.topology import EVENTS
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.stage import parsed

pytestmark = pytest.mark.integration
REFUSAL = {"status": 401, "code": "api_key_expired", "title": "Too old", "detail": "make another"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def questions(fakes: FakeServices) -> int:
    return sum(scope["path"] == "/exchange" for scope in fakes.seen)


def forwarded(fakes: FakeServices, path: str) -> list[str]:
    headers = fakes.last_asked(path)["headers"]
    return [value.decode() for name, value in headers if name == b"authorization"]


@pytest.mark.parametrize("path", ["/chatroom", "/model", "/user/me", "/subscription/status"])
async def test_a_service_sees_a_token_and_never_the_key(
    client: httpx2.AsyncClient, fakes: FakeServices, path: str
) -> None:
    token, key = fakes.token(new_id(), scope="read"), make_key()
    fakes.exchange(token)

    answer = await client.get(path, headers=bearer(key))

    assert answer.status_code == 200
    assert forwarded(fakes, path) == [f"Bearer {token}"]
    assert key not in answer.text


async def test_auth_is_asked_once_however_many_come_with_the_key_at_once(
    start_gateway: Start, fakes: FakeServices
) -> None:
    fakes.exchange(fakes.token(new_id(), scope="chat"))
    headers = bearer(make_key())
    async with start_gateway(anonymous_requests_per_minute=6, anonymous_burst=2) as client:
        answers = await asyncio.gather(
            *(client.get("/chatroom", headers=headers) for _ in range(30))
        )

    assert {answer.status_code for answer in answers} == {200}
    assert questions(fakes) == 1


async def test_a_key_is_asked_about_again_once_its_token_has_expired(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    key = make_key()
    fakes.exchange(fakes.token(new_id(), scope="chat", age_s=898))
    await client.get("/chatroom", headers=bearer(key))
    fakes.planned["POST /exchange"] = (401, REFUSAL)

    async def is_refused() -> bool:
        return (await client.get("/chatroom", headers=bearer(key))).status_code == 401

    began = time.monotonic()
    await eventually(is_refused)
    assert time.monotonic() - began < 4


async def test_auths_refusal_of_a_key_reaches_its_owner(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    fakes.planned["POST /exchange"] = (401, REFUSAL)

    answer = await client.get("/chatroom", headers=bearer(make_key()))
    openai = await client.get("/openai/v1/models", headers=bearer(make_key()))

    document = answer.json()
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert {name: document[name] for name in REFUSAL} == REFUSAL
    assert (openai.status_code, openai.json()["error"]["code"]) == (401, "api_key_expired")


async def test_what_cannot_be_a_key_is_refused_without_asking(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    fakes.exchange(fakes.token(new_id(), scope="chat"))
    key = make_key()
    bad = [key[:-1], f"{key}0", "tf_", f"tf_{'0' * 49}", key + "x" * 4000]

    answers = [await client.get("/chatroom", headers=bearer(each)) for each in bad]
    huge = await client.get("/chatroom", headers=bearer(key + "x" * 100_000))

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (401, "api_key_invalid")
    }
    assert huge.status_code == 431
    assert questions(fakes) == 0


async def test_made_up_keys_count_for_the_address_and_stop_at_the_limit(
    start_gateway: Start, fakes: FakeServices
) -> None:
    fakes.planned["POST /exchange"] = (401, REFUSAL)
    async with start_gateway(anonymous_requests_per_minute=6, anonymous_burst=4) as client:
        answers = [await client.get("/chatroom", headers=bearer(make_key())) for _ in range(10)]

    assert [answer.status_code for answer in answers[-6:]] == [429] * 6
    assert questions(fakes) <= 4


async def test_auth_away_is_no_verdict_on_the_key(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    fakes.planned["POST /exchange"] = (500, {})

    answer = await client.get("/chatroom", headers=bearer(make_key()))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("scope", "method", "path", "code"),
    [
        ("read", "POST", "/chatroom", "scope_missing"),
        ("read", "POST", "/openai/v1/chat/completions", "scope_missing"),
        ("chat", "GET", "/user/me", "scope_missing"),
        ("chat read", "POST", "/user/me/api-key", "login_required"),
        ("chat read", "POST", "/subscribe/pro", "login_required"),
        ("chat read", "POST", "/auth/logout", "login_required"),
    ],
)
async def test_what_a_key_is_not_for_is_refused_and_not_forwarded(
    client: httpx2.AsyncClient, fakes: FakeServices, scope: str, method: str, path: str, code: str
) -> None:
    fakes.exchange(fakes.token(new_id(), scope=scope))

    answer = await client.request(method, path, headers=bearer(make_key()), json={})

    document = answer.json()
    document = document.get("error", document)  # in OpenAI's words
    assert (answer.status_code, document["code"]) == (403, code)
    assert path not in {seen["path"] for seen in fakes.seen}


async def test_a_key_reads_over_a_socket_and_sends_if_it_may(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    room = new_id()
    target = f"/chatroom/{room}/message"
    fakes.planned[f"POST {target}"] = (202, {})
    frame: dict[str, Any] = {"op": "send", "chatroom_id": room, "body": {"content": "hello"}}
    reading, chatting = (fakes.token(new_id(), scope=scope) for scope in ("read", "chat"))

    fakes.exchange(reading)
    async with socket_to(client, make_key()) as socket:
        followed = await socket.ask(op="subscribe")
        refused = await socket.ask(**frame)
    fakes.exchange(chatting)
    async with socket_to(client, make_key()) as socket:
        sent = await socket.ask(**frame)

    assert (followed["op"], refused["problem"]["code"]) == ("ok", "scope_missing")
    assert sent["op"] == "ok"
    assert forwarded(fakes, target) == [f"Bearer {chatting}"]


async def test_a_socket_with_a_bad_key_is_closed(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    fakes.planned["POST /exchange"] = (401, REFUSAL)

    async with socket_to(client) as socket:
        answer = await socket.ask(op="auth", token=make_key())
        code = await socket.close_code()

    assert (answer["problem"]["code"], code) == ("api_key_expired", 4401)


async def test_a_deleted_key_is_refused_and_cut_off_within_a_second(
    start_gateway: Start, fakes: FakeServices, rabbitmq_url: str, redis: Redis
) -> None:
    user_id, key_id, key = new_id(), new_id(), make_key()
    fakes.exchange(fakes.token(user_id, key_id, scope="chat"))
    async with (
        asyncio.timeout(20),
        start_gateway(rabbitmq_url=rabbitmq_url) as gateway,
        gateway.stream("GET", "/event", headers=bearer(key)) as response,
        socket_to(gateway, key) as socket,
    ):
        events = parsed(response)
        await anext(events)

        async def is_heard() -> bool:
            return bool((await redis.pubsub_numsub("revocations"))[0][1])

        await eventually(is_heard)
        fakes.planned["POST /exchange"] = (401, REFUSAL)
        began = time.monotonic()
        await announce_end(rabbitmq_url, user_id, key_id)
        last = [event async for event in events][-1]
        code = await socket.close_code()
        took_s = time.monotonic() - began
        answer = await gateway.get("/chatroom", headers=bearer(key))

    assert (last["type"], code) == ("session.revoked", 4401)
    assert took_s < 2  # of which one goes into the connection to the broker
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_expired")


async def announce_end(rabbitmq_url: str, user_id: UUID, key_id: UUID) -> None:
    event = SessionRevoked(
        user_id=user_id,
        session_id=key_id,
        tokens_expire_at=utc_now() + timedelta(minutes=16),
        reason="logout",
    )
    brokers = make_brokers(rabbitmq_url, service="tests", prefetch=1)
    async with brokers.running():
        await brokers.publish.publish(
            event,
            exchange=EVENTS,
            routing_key=event.TYPE,
            message_id=str(event.event_id),
            message_type=event.TYPE,
            persist=True,
        )

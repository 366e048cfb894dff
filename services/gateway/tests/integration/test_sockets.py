"""The WebSocket through the whole gateway."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.websockets import MAX_FRAME
from services.gateway import socket_rules
from services.gateway.feed import FeedStore
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.socket_client import Event, Socket, socket_to
from services.gateway.tests.integration.stage import Stage, text_of

pytestmark = pytest.mark.integration
SENT_WITH_A_LINE_BREAK = (
    '{"op": "send", "chatroom_id": "01a208a1-e717-704c-9a06-d972a14e54ff", "body": {},'
    ' "idempotency_key": "a\\r\\nx: y"}'
)


@pytest.fixture
async def stage(start_gateway: Start, fakes: FakeServices, redis: Redis) -> AsyncIterator[Stage]:
    limits = {"user_requests_per_minute": 0, "anonymous_requests_per_minute": 0}
    async with start_gateway(heartbeat_s=0.2, recheck_s=0.5, **limits) as client:
        yield Stage(client, fakes, redis)


def token(stage: Stage) -> str:
    return stage.fakes.token(stage.user_id)


async def subscribe(socket: Socket, stage: Stage, **more: Any) -> Event:
    await socket.send(
        op="subscribe", id="s", chatroom_id=stage.room_id, reply_id=stage.reply_id, **more
    )
    return await socket.next()


async def test_a_reply_is_followed_to_its_end(stage: Stage) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        answer = await subscribe(socket, stage)
        await stage.write("one ", "twö")
        await stage.end()
        events = [event async for event in socket.events(str(stage.reply_id))]

        assert answer == {"op": "ok", "id": "s", "subscription": str(stage.reply_id)}
        assert text_of(events) == "one twö"
        assert socket.connection.subprotocol == "thoughtflow.v1"


async def test_the_feed_is_followed_and_left(stage: Stage) -> None:
    feed = FeedStore(stage.redis, stage.redis)
    async with socket_to(stage.client, token(stage)) as socket:
        await socket.send(op="subscribe", id=1)
        assert [(await socket.next())["op"] for _ in range(2)] == ["ok", "event"]
        await feed.append(stage.user_id, new_id(), {"type": "chatroom.created"})
        told = await socket.next()
        left = await socket.ask(op="unsubscribe", subscription="feed")
        await feed.append(stage.user_id, new_id(), {"type": "chatroom.deleted"})
        ping = await socket.ask(op="ping")

    assert told["event"]["type"] == "chatroom.created"
    assert (left["op"], ping["op"]) == ("ok", "ok")


async def test_a_message_is_sent_and_a_reply_stopped_as_over_http(stage: Stage) -> None:
    room = f"/chatroom/{stage.room_id}"
    stage.fakes.accept(f"POST {room}/message", stage.room_id, stage.reply_id)
    stage.fakes.planned[f"POST {room}/stop"] = (200, {"data": []})
    stage.fakes.planned[f"POST {room}/message/{stage.reply_id}/stop"] = (200, {"data": [1]})
    ids = {"chatroom_id": stage.room_id}
    async with socket_to(stage.client, token(stage)) as socket:
        body = {"content": "hello"}
        sent = await socket.ask(op="send", body=body, idempotency_key="k1", **ids)
        stopped = await socket.ask(op="stop", **ids)
        one = await socket.ask(op="stop", message_id=stage.reply_id, **ids)

    assert (sent["op"], sent["status"]) == ("ok", 202)
    assert sent["data"]["reply"]["id"] == str(stage.reply_id)
    assert (stopped["data"], one["data"]) == ({"data": []}, {"data": [1]})
    index = next(
        i for i, scope in enumerate(stage.fakes.seen) if scope["path"] == f"{room}/message"
    )
    headers = dict(stage.fakes.seen[index]["headers"])
    assert headers[b"idempotency-key"] == b"k1"
    assert headers[b"authorization"].startswith(b"Bearer ")
    assert orjson.loads(stage.fakes.bodies[index]) == {"content": "hello"}


async def test_what_chat_refuses_is_refused_with_its_problem(stage: Stage) -> None:
    problem = {"code": "daily_limit_reached", "status": 429, "detail": "tomorrow"}
    stage.fakes.planned[f"POST /chatroom/{stage.room_id}/message"] = (429, problem)
    async with socket_to(stage.client, token(stage)) as socket:
        answer = await socket.ask(op="send", chatroom_id=stage.room_id, body={"content": "x"})

    assert answer["op"] == "error"
    assert answer["problem"]["code"] == "daily_limit_reached"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", "malformed_request"),
        ("[]", "validation_failed"),
        ('{"op": "fly"}', "validation_failed"),
        ('{"op": "ping", "more": 1}', "validation_failed"),
        ('{"op": "send", "chatroom_id": "../x", "body": {}}', "validation_failed"),
        (f'{{"op": "subscribe", "reply_id": "{new_id()}"}}', "validation_failed"),
        ('{"op": "unsubscribe", "subscription": "feed"}', "not_found"),
        (
            SENT_WITH_A_LINE_BREAK,
            "validation_failed",
        ),
    ],
)
async def test_a_frame_that_makes_no_sense_is_refused_and_the_connection_lives(
    stage: Stage, frame: str, code: str
) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        await socket.connection.send(frame)
        answer = await socket.next()
        assert (answer["op"], answer["problem"]["code"]) == ("error", code)
        assert (await socket.ask(op="ping"))["op"] == "ok"


async def test_a_frame_over_64_kib_ends_the_connection(stage: Stage) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        await socket.connection.send("x" * (MAX_FRAME + 1))
        assert await socket.close_code() == 1009


async def test_a_stranger_cannot_subscribe_to_a_reply(stage: Stage) -> None:
    """S3: over a WebSocket as well."""
    await stage.write("private")
    stage.fakes.messages.clear()  # chat tells strangers 404
    async with socket_to(stage.client, stage.fakes.token(new_id())) as socket:
        answer = await subscribe(socket, stage)

    assert (answer["op"], answer["problem"]["code"]) == ("error", "not_found")


@pytest.mark.parametrize("frame", [{"op": "ping"}, {"op": "auth", "token": "x"}])
async def test_whoever_is_not_logged_in_is_closed_with_4401(
    stage: Stage, frame: dict[str, str]
) -> None:
    async with socket_to(stage.client) as socket:
        await socket.send(**frame)
        assert await socket.close_code() == 4401


async def test_whoever_says_nothing_is_closed_with_4408(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_rules, "AUTH_S", 0.1)
    async with socket_to(stage.client) as socket:
        assert await socket.close_code() == 4408


async def test_an_idle_connection_without_subscriptions_is_closed_with_4408(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_rules, "IDLE_S", 0.3)
    mine = token(stage)
    async with socket_to(stage.client, mine) as idle, socket_to(stage.client, mine) as busy:
        await busy.ask(op="subscribe")
        assert await idle.close_code() == 4408
        assert (await busy.ask(op="ping"))["op"] == "ok"


async def test_a_ticket_opens_one_connection_and_appears_in_no_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uvicorn")
    caplog.set_level(logging.INFO, "uvicorn.error")  # another test's server may have raised it
    issued = await stage.client.post("/ws/ticket", headers=stage.headers())
    ticket = issued.json()["ticket"]
    query = f"?ticket={ticket}"

    async with socket_to(stage.client, query=query) as socket:
        assert (await socket.ask(op="ping"))["op"] == "ok"
    async with socket_to(stage.client, query=query) as again:
        assert await again.close_code() == 4401

    assert issued.status_code == 201
    assert issued.json()["expires_in"] == 30
    server_side = [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert server_side
    assert not any(ticket in record.getMessage() for record in server_side)


async def test_a_ticket_is_good_for_30_seconds_and_redis_does_not_know_it(stage: Stage) -> None:
    ticket = (await stage.client.post("/ws/ticket", headers=stage.headers())).json()["ticket"]
    (key,) = [key async for key in stage.redis.scan_iter("ws-ticket:*")]

    assert 0 < await stage.redis.ttl(key) <= 30
    assert ticket not in key.decode()


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("https://evil.example", 4403),
        ("null", 4403),
        ("https://app.example.evil.example", 4403),
        ("https://app.example", None),
        ("same", None),
        (None, None),
    ],
)
async def test_only_our_pages_and_those_allowed_open_connections(
    start_gateway: Start, fakes: FakeServices, origin: str | None, code: int | None
) -> None:
    """S8: the Origin is checked before anything else."""
    async with start_gateway(allowed_origins="https://app.example") as client:
        given = str(client.base_url).rstrip("/") if origin == "same" else origin
        async with socket_to(client, origin=given) as socket:
            if code is not None:
                assert await socket.close_code() == code
            else:
                answer = await socket.ask(op="auth", token=fakes.token(new_id()))
                assert answer["op"] == "ok"


async def test_a_connection_ends_with_its_token_unless_there_is_a_new_one(stage: Stage) -> None:
    nearly_over = 900 + 5 - 4  # the token is accepted for three to four more seconds
    old = stage.fakes.token(stage.user_id, age_s=nearly_over)
    async with socket_to(stage.client, old) as ends, socket_to(stage.client, old) as goes_on:
        await subscribe(goes_on, stage)
        await goes_on.send(op="auth", id="again", token=token(stage))
        assert await ends.close_code() == 4401
        await stage.write("still here")
        await stage.end()
        events = [event async for event in goes_on.events(str(stage.reply_id))]

    assert text_of(events) == "still here"


async def test_a_connection_keeps_its_user(stage: Stage) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        answer = await socket.ask(op="auth", token=stage.fakes.token(new_id()))

    assert answer["problem"]["code"] == "forbidden"


async def test_leaving_frees_the_subscription(stage: Stage) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        await subscribe(socket, stage)
        assert await stage.is_watched()

    async def is_free() -> bool:
        return not await stage.is_watched()

    await eventually(is_free)

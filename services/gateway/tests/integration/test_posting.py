"""Posts whose sender waits for the reply."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.replies import Entry, ReplyWriter
from services.gateway import posting
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.stage import Stage, parsed, text_of

pytestmark = pytest.mark.integration
EVENT_STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def stage(start_gateway: Start, fakes: FakeServices, redis: Redis) -> AsyncIterator[Stage]:
    async with start_gateway(heartbeat_s=0.2, recheck_s=0.5) as client:
        stage = Stage(client, fakes, redis)
        room = f"/chatroom/{stage.room_id}/message"
        for target in (f"POST {room}", f"PATCH {room}/m1", f"POST {room}/m1/regenerate"):
            fakes.accept(target, stage.room_id, stage.reply_id)
        yield stage


async def write_when_watched(stage: Stage, *texts: str) -> None:
    await eventually(stage.is_watched)
    await stage.write(*texts)
    await stage.end()
    stage.set_status("completed", "".join(texts))


def room(stage: Stage) -> str:
    return f"/chatroom/{stage.room_id}/message"


@pytest.mark.parametrize(
    ("method", "more"), [("POST", ""), ("PATCH", "/m1"), ("POST", "/m1/regenerate")]
)
async def test_a_post_that_accepts_events_becomes_the_replys_stream(
    stage: Stage, method: str, more: str
) -> None:
    writing = asyncio.create_task(write_when_watched(stage, "one ", "two"))
    headers = stage.headers() | EVENT_STREAM | {"Idempotency-Key": "k1"}
    async with stage.client.stream(
        method, room(stage) + more, headers=headers, json={"content": "hello"}
    ) as response:
        events = [event async for event in parsed(response) if event["type"] != "heartbeat"]
    await writing

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "ratelimit" in response.headers
    assert "x-request-id" in response.headers
    assert events[0]["type"] == "message.created"
    assert events[0]["reply"]["id"] == str(stage.reply_id)
    assert text_of(events) == "one two"
    assert events[-1]["type"] == "generation.completed"
    posted = next(s for s in stage.fakes.seen if s["path"] == room(stage) + more)
    assert dict(posted["headers"])[b"idempotency-key"] == b"k1"
    assert b'{"content":"hello"}' in stage.fakes.bodies


async def test_a_post_that_prefers_to_wait_gets_the_finished_reply(stage: Stage) -> None:
    writing = asyncio.create_task(write_when_watched(stage, "one ", "two"))
    headers = stage.headers() | {"Prefer": "respond-async, wait=30"}
    answer = await stage.client.post(room(stage), headers=headers, json={"content": "hello"})
    await writing

    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["content-type"] == "application/json"
    reply = answer.json()["reply"]
    assert (reply["status"], reply["content"]) == ("completed", "one two")
    assert reply["finish_reason"] == "stop"
    assert answer.json()["message"]["role"] == "user"


async def test_a_finished_reply_is_held_back_until_chat_has_stored_it(stage: Stage) -> None:
    await stage.write("all of it")
    await stage.end()
    headers = stage.headers() | {"Prefer": "wait=5"}
    waiting = asyncio.create_task(
        stage.client.post(room(stage), headers=headers, json={"content": "hello"})
    )
    early, _ = await asyncio.wait({waiting}, timeout=0.5)
    stage.set_status("completed", "all of it")
    answer = await waiting

    assert not early
    assert (answer.status_code, answer.json()["reply"]["content"]) == (201, "all of it")


async def test_a_finished_reply_that_chat_does_not_store_is_not_held_back_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "SETTLED_S", 0.3)
    await stage.write("all of it")
    await stage.end()
    headers = stage.headers() | {"Prefer": "wait=30"}
    async with asyncio.timeout(5):
        answer = await stage.client.post(room(stage), headers=headers, json={"content": "hello"})

    assert (answer.status_code, answer.json()["reply"]["content"]) == (201, "all of it")


async def test_a_failed_reply_is_told_with_its_problem(stage: Stage) -> None:
    problem = {"code": "model_failed", "detail": "no"}
    entry = Entry("failed", 1, problem=problem)
    await ReplyWriter(stage.redis).append(stage.key, entry)
    stage.set_status("failed")
    answer = await stage.client.post(
        room(stage), headers=stage.headers() | {"Prefer": "wait=5"}, json={"content": "x"}
    )

    assert answer.json()["reply"]["status"] == "failed"
    assert answer.json()["reply"]["problem"] == problem


async def test_a_reply_that_takes_longer_is_accepted_as_always(stage: Stage) -> None:
    await stage.write("half")
    answer = await stage.client.post(
        room(stage), headers=stage.headers() | {"Prefer": "wait=1"}, json={"content": "x"}
    )

    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers
    assert answer.json()["reply"] == {"id": str(stage.reply_id), "status": "queued"}


@pytest.mark.parametrize("prefer", ["wait=0", "wait", "wait=soon", "respond-async", ""])
async def test_without_a_time_to_wait_a_post_is_answered_at_once(stage: Stage, prefer: str) -> None:
    answer = await stage.client.post(
        room(stage), headers=stage.headers() | {"Prefer": prefer}, json={"content": "x"}
    )
    assert answer.status_code == 202


@pytest.mark.parametrize("how", [EVENT_STREAM, {"Prefer": "wait=5"}])
async def test_what_chat_refuses_is_refused(stage: Stage, how: dict[str, str]) -> None:
    refusal: dict[str, Any] = {"code": "daily_limit_reached", "status": 429}
    stage.fakes.planned[f"POST {room(stage)}"] = (429, refusal)
    answer = await stage.client.post(
        room(stage), headers=stage.headers() | how, json={"content": "x"}
    )
    assert (answer.status_code, answer.json()) == (429, refusal)


@pytest.mark.parametrize("how", [EVENT_STREAM, {"Prefer": "wait=5"}])
async def test_an_accepted_message_is_no_error_when_its_reply_cannot_be_followed(
    stage: Stage, how: dict[str, str]
) -> None:
    stage.fakes.messages.clear()
    answer = await stage.client.post(
        room(stage), headers=stage.headers() | how, json={"content": "x"}
    )
    assert answer.status_code == 202


async def test_leaving_posts_nothing_else(stage: Stage) -> None:
    headers = stage.headers() | EVENT_STREAM
    async with stage.client.stream("POST", room(stage), headers=headers, json={"a": 1}) as r:
        await anext(parsed(r))

    async def is_free() -> bool:
        return not await stage.is_watched()

    await eventually(is_free)
    sent = [scope["path"] for scope in stage.fakes.seen if scope["method"] != "GET"]
    assert sent == [room(stage)]

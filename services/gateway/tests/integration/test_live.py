"""Live replies through the whole gateway, with a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.replies import Entry
from services.gateway.hub import MAX_QUEUED
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.stage import Stage, all_of, text_of


@pytest.fixture
async def stage(start_gateway: Start, fakes: FakeServices, redis: Redis) -> AsyncIterator[Stage]:
    async with start_gateway(heartbeat_s=0.2, recheck_s=0.5) as client:
        yield Stage(client, fakes, redis)


async def test_a_reply_is_seen_from_its_start_to_its_end_by_every_device(stage: Stage) -> None:
    await stage.write("one ")
    async with stage.watching() as first, stage.watching() as second:
        await stage.write("twö ", "three", start=4)
        await stage.end()
        seen = [await all_of(first), await all_of(second)]

    assert [text_of(events) for events in seen] == ["one twö three"] * 2
    assert seen[0][-1]["type"] == "generation.completed"
    assert seen[0][-1]["finish_reason"] == "stop"


async def test_whoever_comes_before_the_first_word_gets_it_all(stage: Stage) -> None:
    async with stage.watching() as events:
        await stage.write("hi")
        await stage.end()
        assert text_of(await all_of(events)) == "hi"


@pytest.mark.parametrize("how", ["header", "query"])
async def test_coming_back_brings_only_what_is_new(stage: Stage, how: str) -> None:
    """S2: what was missed, once."""
    await stage.write("one ", "two ")
    async with stage.watching() as events:
        first = [await anext(events), await anext(events)][0]
    await stage.write("three", start=8)
    await stage.end()
    cursor = first["id"]
    options: dict[str, Any] = (
        {"headers": {"Last-Event-ID": cursor}} if how == "header" else {"params": {"after": cursor}}
    )

    async with stage.watching(**options) as events:
        rest = await all_of(events)

    assert [event.get("text") for event in rest] == ["two ", "three", None]


@pytest.mark.parametrize("cursor", ["nonsense", "1-1", "99999999999999-0"])
async def test_a_cursor_that_leads_nowhere_gets_a_snapshot(stage: Stage, cursor: str) -> None:
    """S2: an id that nobody gave out is no error."""
    await stage.write("one ", "two")
    await stage.end()

    async with stage.watching(params={"after": cursor}) as events:
        seen = await all_of(events)

    assert [event["type"] for event in seen] == ["generation.snapshot", "generation.completed"]
    assert text_of(seen) == "one two"


async def test_a_new_attempt_replaces_what_was_shown(stage: Stage) -> None:
    await stage.write("old words")
    async with stage.watching() as events:
        await stage.write("new", attempt=2)
        await stage.end(attempt=2)
        assert text_of(await all_of(events)) == "new"


async def test_a_reply_that_ended_long_ago_comes_from_chat(stage: Stage) -> None:
    stage.set_status("completed", "all of it")

    async with stage.watching() as events:
        seen = await all_of(events)

    assert [event["type"] for event in seen] == ["generation.snapshot", "generation.completed"]
    assert text_of(seen) == "all of it"


async def test_a_foreign_or_unknown_reply_is_not_found(stage: Stage) -> None:
    """S3: a stream is its owner's alone."""
    await stage.write("private")
    stage.fakes.messages.clear()  # chat tells strangers 404
    stranger = stage.headers(new_id())

    answers = [
        await stage.client.get(stage.path, headers=stranger),
        await stage.client.get("/chatroom/x/message/y/stream", headers=stranger),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert "private" not in answers[0].text
    assert answers[0].headers["content-type"] == "application/problem+json"


async def test_a_reply_is_not_found_in_another_room(stage: Stage) -> None:
    await stage.write("mine")
    stage.fakes.messages.clear()  # chat knows no such reply in that room
    path = stage.path.replace(str(stage.room_id), str(new_id()))

    answer = await stage.client.get(path, headers=stage.headers())

    assert answer.status_code == 404
    assert "mine" not in answer.text


async def test_a_listener_is_not_left_hanging_when_the_end_is_lost_with_redis(stage: Stage) -> None:
    await stage.write("ha")
    async with stage.watching() as events:
        await anext(events)
        await stage.redis.flushall()
        stage.set_status("completed", "half and the rest")
        seen = await all_of(events)

    assert text_of(seen) == "half and the rest"
    assert seen[-1]["type"] == "generation.completed"


async def test_what_redis_lost_in_the_middle_comes_from_chat_in_the_end(stage: Stage) -> None:
    await stage.write("one ")
    async with stage.watching() as events:
        await anext(events)
        await stage.write("three", start=8)
        stage.set_status("completed", "one two three")
        await stage.end()
        seen = await all_of(events)

    assert text_of(seen) == "one two three"
    assert seen[-1]["type"] == "generation.completed"


async def test_a_lost_subscriber_is_replaced_and_nothing_is_missed(stage: Stage) -> None:
    await stage.write("one ")
    async with stage.watching() as events:
        await anext(events)
        await stage.redis.client_kill_filter(_type="pubsub")
        await stage.write("two ", start=4)
        await eventually(stage.is_watched)
        await stage.write("three", start=8)
        await stage.end()
        seen = await all_of(events)

    assert "".join(event.get("text", "") for event in seen) == "two three"


async def test_silence_is_filled_with_heartbeats(stage: Stage) -> None:
    """S5: at most 30 s apart, which the settings ensure."""
    async with stage.watching() as events:
        async with asyncio.timeout(5):
            kinds = {(await anext(events))["type"] for _ in range(3)}

    assert kinds == {"heartbeat"}


async def test_the_subscription_goes_with_the_last_listener(stage: Stage) -> None:
    async with stage.watching(), stage.watching():
        await eventually(stage.is_watched)

    async def is_free() -> bool:
        return not await stage.is_watched()

    await eventually(is_free)


async def test_a_listener_that_falls_behind_still_gets_every_word(stage: Stage) -> None:
    words = [f"{number} " for number in range(MAX_QUEUED * 3)]
    async with stage.watching() as events:
        await anext(events)
        async with stage.redis.pipeline(transaction=True) as pipeline:
            for word in words:  # all in one write: no reader keeps up with that
                dumped = Entry("delta", 1, stage.written, word).dump()
                stage.written += len(word)
                pipeline.eval(_APPEND, 1, stage.key, dumped)
            await pipeline.execute()
        await stage.end()
        seen = await all_of(events)

    assert text_of(seen) == "".join(words)


_APPEND = """
local id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[1])
"""


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, br", "gzip"), ("gzip;q=0, br", None), ("identity", None)]
)
async def test_a_stream_is_gzip_for_who_takes_it_and_each_part_can_be_read_at_once(
    stage: Stage, accepted: str, coding: str | None
) -> None:
    await stage.write("one ")
    headers = {**stage.headers(), "Accept-Encoding": accepted}
    async with stage.client.stream("GET", stage.path, headers=headers) as answer:
        lines = answer.aiter_lines()
        while "one " not in await anext(lines):
            pass
        await stage.write("two", start=4)
        while "two" not in await anext(lines):
            pass
        await stage.end()
        rest = [line async for line in lines]

    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "event: generation.completed" in rest

"""A user can end a reply in any state, from anywhere."""

import asyncio
from time import monotonic

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common import outbox
from libs.common.db import Connection
from libs.common.events import AIReplyStopped, Event, Turn
from libs.common.testing import eventually
from services.ai.actions import replies, stops
from services.ai.models import Prompt
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import (
    call_when,
    calls,
    claimed,
    end_of,
    ends,
    last_entry,
    live_text,
    posted,
    stop_of,
)

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _only_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not look into the table by themselves, so a stop in time was a notification."""
    monkeypatch.setattr("services.ai.worker.CHECK_S", 60.0)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"first_token_timeout_s": 30, "silence_timeout_s": 30})


@pytest.mark.parametrize("stopper", ["own", "other"])
async def test_a_stop_before_the_first_token_closes_the_call_to_gemini_within_a_second(
    res: Resources,
    other: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    announced: list[Event],
    stopper: str,
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 60, "times": 9})
    writing = asyncio.create_task(replies.answer_message(res, event))
    assert await eventually(lambda: calls(gemini))

    began = monotonic()
    await stops.stop_reply(res if stopper == "own" else other, stop_of(event))
    await writing
    await call_when(gemini, "aborted", within_s=1)

    assert monotonic() - began < 1
    stopped = end_of(announced, event, AIReplyStopped)
    assert stopped.content == ""
    assert await last_entry(redis, event) == "stopped"
    row = await conn.fetchrow("SELECT * FROM usage_ledger")
    assert row is not None
    assert row["estimated"]
    assert row["prompt_tokens"] > 0
    assert row["output_tokens"] == 0


@pytest.mark.parametrize("stopper", ["own", "other"])
async def test_a_stop_in_mid_stream_keeps_the_text_so_far_and_closes_the_call(
    res: Resources,
    other: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    announced: list[Event],
    stopper: str,
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "stall", "after_chunks": 3})
    writing = asyncio.create_task(replies.answer_message(res, event))

    async def shown() -> str:
        return await live_text(redis, event)

    assert await eventually(shown)
    began = monotonic()
    await stops.stop_reply(res if stopper == "own" else other, stop_of(event))
    await stops.stop_reply(other, stop_of(event))
    await writing
    await call_when(gemini, "aborted", within_s=1)

    assert monotonic() - began < 1
    stopped = end_of(announced, event, AIReplyStopped)
    assert stopped.content == await live_text(redis, event) != ""
    assert stopped.model == res.settings.gemini_model
    assert ends(announced) == ["AIReplyStopped"]
    assert await last_entry(redis, event) == "stopped"
    row = await conn.fetchrow("SELECT * FROM usage_ledger")
    assert row is not None
    assert row["estimated"]
    assert row["output_tokens"] == -(-len(stopped.content) // 4)
    assert row["total_tokens"] == row["prompt_tokens"] + row["output_tokens"]


async def test_a_call_that_is_broken_off_between_two_chunks_is_closed(
    res: Resources, gemini: httpx2.AsyncClient
) -> None:
    run = res.model.answer(
        Prompt((Turn(role="user", content="hi"),), "be kind", 100),
        model=res.settings.gemini_model,
    )
    await gemini.post("/_emulator/faults", json={"mode": "stall", "after_chunks": 2})

    await anext(run)
    await run.aclose()

    await call_when(gemini, "aborted", within_s=1)


async def test_a_queued_reply_that_is_stopped_is_never_begun(
    res: Resources, gemini: httpx2.AsyncClient, redis: Redis, announced: list[Event]
) -> None:
    event = posted()

    await stops.stop_reply(res, stop_of(event))
    await stops.stop_reply(res, stop_of(event))
    await replies.answer_message(res, event)

    assert ends(announced) == ["AIReplyStopped"]
    assert (await gemini.get("/_emulator/requests")).json()["total"] == 0
    assert await last_entry(redis, event) == "stopped"


async def test_a_stop_after_the_end_changes_nothing(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = posted()
    await replies.answer_message(res, event)

    await stops.stop_reply(res, stop_of(event))

    assert ends(announced) == ["AIReplyReady"]
    assert await conn.fetchval("SELECT status FROM generation") == "completed"


async def test_strangers_stop_nothing(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.5})
    writing = asyncio.create_task(replies.answer_message(res, event))

    async def started() -> int:
        return await claimed(res)

    await eventually(started)
    stranger = posted().user_id
    await stops.stop_reply(res, stop_of(event).model_copy(update={"user_id": stranger}))
    await writing

    assert ends(announced) == ["AIReplyReady"]


async def test_a_stop_comes_over_the_broker(
    res: Resources, gemini: httpx2.AsyncClient, redis: Redis, conn: Connection
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 60, "times": 9})
    async with res.db.acquire() as own, own.transaction():
        await outbox.add(own, event)
    res.relay.nudge()
    assert await eventually(lambda: calls(gemini))
    async with res.db.acquire() as own, own.transaction():
        await outbox.add(own, stop_of(event))
    res.relay.nudge()

    async def stopped() -> bool:
        status: str = await conn.fetchval("SELECT status FROM generation")
        return status == "stopped"

    assert await eventually(stopped, within_s=3)

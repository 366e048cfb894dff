"""A user can end a reply in any state, from anywhere, and it ends once."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import httpx2
import orjson
import pytest
from redis.asyncio import Redis

from libs.common import outbox
from libs.common.db import Connection
from libs.common.events import (
    AIReplyStopped,
    Event,
    MessagePosted,
    ReplyStopRequested,
    Turn,
)
from libs.common.replies import stream_key
from libs.common.testing import eventually
from services.ai.actions import replies, stops
from services.ai.app import create_app
from services.ai.models import Prompt
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.store import generations
from services.ai.tests.integration.asking import posted

pytestmark = pytest.mark.integration
TERMINAL = {"AIReplyReady", "AIReplyFailed", "AIReplyStopped"}


def stop_of(event: MessagePosted) -> ReplyStopRequested:
    return ReplyStopRequested(
        user_id=event.user_id, chatroom_id=event.chatroom_id, reply_id=event.reply_id
    )


@pytest.fixture
async def other(res: Resources, settings: Settings) -> AsyncIterator[Resources]:
    """A second worker beside `res`."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app.state.resources


async def live_text(redis: Redis, event: MessagePosted) -> str:
    stored: Any = await redis.xrange(stream_key(event.user_id, event.reply_id))
    return "".join(orjson.loads(fields[b"d"])["text"] for _, fields in stored)


async def calls(gemini: httpx2.AsyncClient) -> int:
    return len((await gemini.get("/_emulator/requests")).json()["requests"])


async def last_entry(redis: Redis, event: MessagePosted) -> str:
    stored: Any = await redis.xrevrange(stream_key(event.user_id, event.reply_id), count=1)
    return str(orjson.loads(stored[0][1][b"d"])["type"])


async def call_when(gemini: httpx2.AsyncClient, state: str, *, within_s: float = 5) -> Any:
    async def found() -> Any:
        for call in (await gemini.get("/_emulator/requests")).json()["requests"]:
            if call[state]:
                return call
        return None

    return await eventually(found, within_s=within_s)


def ends(announced: list[Event]) -> list[str]:
    return [name for name in (type(e).__name__ for e in announced) if name in TERMINAL]


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
    stopped = announced[-1]
    assert isinstance(stopped, AIReplyStopped)
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
    stopped = announced[-1]
    assert isinstance(stopped, AIReplyStopped)
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

    async def started() -> bool:
        return bool(announced)

    await eventually(started)
    stranger = posted().user_id
    await stops.stop_reply(res, stop_of(event).model_copy(update={"user_id": stranger}))
    await writing

    assert ends(announced) == ["AIReplyReady"]


async def test_a_stop_that_races_with_the_end_leaves_exactly_one_end(
    res: Resources, other: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    events = [posted() for _ in range(24)]

    async def stop(number: int, event: MessagePosted) -> None:
        await asyncio.sleep(0.012 * number)
        await stops.stop_reply((res, other)[number % 2], stop_of(event))

    await asyncio.gather(
        *(replies.answer_message(res, event) for event in events),
        *(stop(number, event) for number, event in enumerate(events)),
    )

    async def ended() -> bool:
        return not await conn.fetchval("SELECT count(*) FROM generation WHERE status = 'running'")

    assert await eventually(ended)
    assert await conn.fetchval("SELECT count(*) FROM generation") == len(events)
    assert await conn.fetchval("SELECT count(*) FROM usage_ledger") == len(events)


@pytest.mark.parametrize("order", ["end first", "stop first"])
async def test_of_an_end_and_a_stop_that_meet_in_the_database_one_is_announced(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    announced: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    """The stop is stored just before, or waits for the row until just after, the end is."""
    event = posted()
    end = generations.end_generation
    waiting: list[asyncio.Task[None]] = []

    async def end_with_a_stop(conn: Connection, *args: Any, **options: Any) -> Any:
        if order == "stop first":
            await stops.stop_reply(res, stop_of(event))
            return await end(conn, *args, **options)
        ended = await end(conn, *args, **options)
        waiting.append(asyncio.create_task(stops.stop_reply(res, stop_of(event))))
        await asyncio.sleep(0.1)
        return ended

    monkeypatch.setattr(generations, "end_generation", end_with_a_stop)
    await replies.answer_message(res, event)
    await asyncio.gather(*waiting)

    assert ends(announced) == ["AIReplyReady"]
    assert await conn.fetchval("SELECT count(*) FROM usage_ledger") == 1


async def test_a_reply_whose_worker_is_gone_is_stopped_by_whoever_hears_of_it(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = posted()
    await conn.execute(
        """
        INSERT INTO generation
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 3, 4711, 'test', now())
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
    )

    await stops.stop_reply(res, stop_of(event))
    await replies.answer_message(res, event)

    assert ends(announced) == ["AIReplyStopped"]
    stopped = announced[0]
    assert isinstance(stopped, AIReplyStopped)
    assert stopped.attempt == 3


async def test_a_worker_that_was_deaf_finds_the_stop_by_itself(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    """Its connection is lost with the notification; the next check of the table sees it."""
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 60, "times": 9})
    writing = asyncio.create_task(replies.answer_message(res, event))

    async def started() -> bool:
        return bool(announced)

    await eventually(started)
    await conn.execute("UPDATE generation SET stop_requested_at = now()")
    await asyncio.wait_for(writing, 5)

    assert ends(announced) == ["AIReplyStopped"]


async def test_a_reply_that_is_taken_over_after_its_stop_ends_at_once(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = posted()
    await conn.execute(
        """
        INSERT INTO generation (id, user_id, chatroom_id, status, attempt, worker, model,
            created_at, stop_requested_at)
        VALUES ($1, $2, $3, 'running', 1, 4711, 'test', now(), now())
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
    )

    await replies.answer_message(res, event)

    assert ends(announced) == ["AIReplyStopped"]
    assert (await gemini.get("/_emulator/requests")).json()["total"] == 0


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

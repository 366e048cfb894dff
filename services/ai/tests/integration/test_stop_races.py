"""Whatever a stop meets, the reply ends once."""

import asyncio
from typing import Any

import httpx2
import pytest

from libs.common.db import Connection
from libs.common.events import AIReplyStopped, Event, MessagePosted
from libs.common.testing import eventually
from services.ai.actions import replies, stops
from services.ai.resources import Resources
from services.ai.store import generations
from services.ai.tests.integration.asking import claimed, ends, posted, stop_of

pytestmark = pytest.mark.integration


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

    async def started() -> int:
        return await claimed(res)

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


async def test_a_worker_that_others_took_for_dead_announces_no_second_end(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    """It was frozen; meanwhile its reply was stopped for it."""
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.5})
    writing = asyncio.create_task(replies.answer_message(res, event))

    async def started() -> int:
        return await claimed(res)

    assert await eventually(started)
    await conn.execute("UPDATE generation SET status = 'stopped', ended_at = now()")
    await writing

    assert ends(announced) == []
    assert await conn.fetchval("SELECT status FROM generation") == "stopped"

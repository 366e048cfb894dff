"""Who writes a reply: one worker at a time, whatever becomes of workers and connections."""

import asyncio

import asyncpg
import httpx2
import pytest

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import AIReplyReady, Event, MessagePosted
from libs.common.testing import eventually
from services.ai.actions import replies as actions
from services.ai.errors import GenerationBusyError
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.store import generations as store
from services.ai.tests.integration.asking import posted

pytestmark = pytest.mark.integration


async def claimed_by(conn: Connection, event: MessagePosted, worker: int) -> None:
    await conn.execute(
        """
        INSERT INTO generation
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 1, $4, 'test', now())
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
        worker,
    )


async def test_a_living_workers_reply_is_left_alone_and_a_dead_ones_taken_over_at_once(
    res: Resources,
    conn: Connection,
    settings: Settings,
    announced: list[Event],
    gemini: httpx2.AsyncClient,
) -> None:
    other = await asyncpg.connect(settings.database_url)
    await other.execute("SELECT pg_advisory_lock(4711)")
    event = posted()
    await claimed_by(conn, event, 4711)

    with pytest.raises(GenerationBusyError):
        await actions.answer_message(res, event)
    await other.close()

    async def taken_over() -> bool:
        try:
            await actions.answer_message(res, event)
        except GenerationBusyError:
            return False
        return True

    assert await eventually(taken_over)
    ready = announced[-1]
    assert isinstance(ready, AIReplyReady)
    assert ready.attempt == 2


async def test_a_worker_that_lost_its_reply_stores_and_announces_nothing(
    res: Resources, conn: Connection, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.5})

    async def steal() -> None:
        async def running() -> bool:
            return bool(announced)

        await eventually(running)
        await conn.execute("UPDATE generation SET attempt = attempt + 1, worker = 1")

    await asyncio.gather(actions.answer_message(res, event), steal())

    assert [type(e).__name__ for e in announced] == ["AIReplyStarted"]
    assert await conn.fetchval("SELECT status FROM generation") == "running"


async def test_a_lost_delivery_does_not_end_the_writing_and_the_next_one_waits_for_it(
    res: Resources, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.3})
    lost = asyncio.create_task(actions.answer_message(res, event))

    async def running() -> bool:
        return bool(announced)

    assert await eventually(running)
    lost.cancel()
    await actions.answer_message(res, event)

    assert [type(e).__name__ for e in announced] == ["AIReplyStarted", "AIReplyReady"]
    assert lost.cancelled()


async def test_what_a_living_worker_no_longer_writes_can_be_claimed_by_others(
    res: Resources, conn: Connection, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 5})
    delivery = asyncio.create_task(actions.answer_message(res, event))

    async def running() -> bool:
        return bool(announced)

    async def claimed() -> int | None:
        async with conn.transaction():
            claim = await store.claim_generation(
                conn,
                generation_id=event.reply_id,
                user_id=event.user_id,
                chatroom_id=event.chatroom_id,
                worker=4711,
                model="test",
                now=utc_now(),
            )
            return None if claim is None else claim.attempt

    assert await eventually(running)
    assert await claimed() is None
    task = res.worker.writing[event.reply_id].task
    assert task is not None
    task.cancel()
    await asyncio.wait([delivery])

    assert await eventually(claimed) == 2

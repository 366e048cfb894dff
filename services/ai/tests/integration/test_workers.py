"""Who writes a reply: one worker at a time, whatever becomes of workers and connections."""

import asyncio

import asyncpg
import httpx2
import pytest

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import (
    AIReplyReady,
    Event,
)
from libs.common.testing import eventually
from services.ai import worker
from services.ai.actions import replies as actions
from services.ai.errors import GenerationBusyError
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.store import generations as store
from services.ai.tests.integration.asking import (
    claimed,
    claimed_by,
    end_of,
    ends,
    posted,
)
from services.ai.worker import Writing

pytestmark = pytest.mark.integration


async def holder_of(conn: Connection, worker_id: int) -> int | None:
    """Return the pid of the connection that holds a worker's lock."""
    pid: int | None = await conn.fetchval(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND classid::bigint << 32 | objid::bigint = $1",
        worker_id,
    )
    return pid


@pytest.fixture
def patient_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that looks at the outbox when it is nudged, and hardly ever else."""
    monkeypatch.setattr(outbox, "SAFETY_NET_S", 60)


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
    ready = end_of(announced, event, AIReplyReady)
    assert ready.attempt == 2


async def test_a_worker_that_lost_its_reply_stores_and_announces_nothing(
    res: Resources, conn: Connection, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.5})

    async def steal() -> None:
        async def running() -> int:
            return await claimed(res)

        await eventually(running)
        await conn.execute("UPDATE generation SET attempt = attempt + 1, worker = 1")

    await asyncio.gather(actions.answer_message(res, event), steal())

    assert ends(announced) == []
    assert await conn.fetchval("SELECT status FROM generation") == "running"


async def test_a_lost_delivery_does_not_end_the_writing_and_the_next_one_waits_for_it(
    res: Resources, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.3})
    lost = asyncio.create_task(actions.answer_message(res, event))

    async def running() -> int:
        return await claimed(res)

    assert await eventually(running)
    lost.cancel()
    await actions.answer_message(res, event)

    assert ends(announced) == ["AIReplyReady"]
    assert lost.cancelled()


async def test_what_a_living_worker_no_longer_writes_can_be_claimed_by_others(
    res: Resources, conn: Connection, announced: list[Event], gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 5})
    delivery = asyncio.create_task(actions.answer_message(res, event))

    async def running() -> int:
        return await claimed(res)

    async def taken() -> int | None:
        async with conn.transaction():
            claim = await store.claim_generation(
                conn,
                event,
                model="test",
                worker=4711,
                now=utc_now(),
                cost_micros=1,
                day_limit=None,
            )
            return None if claim is None else claim.attempt

    assert await eventually(running)
    assert await taken() is None
    task = res.worker.writing[event.reply_id].task
    assert task is not None
    task.cancel()
    await asyncio.wait([delivery])

    assert await eventually(taken) == 2


@pytest.mark.parametrize("how", ["attempt = attempt + 1", "worker = 1"])
@pytest.mark.parametrize("fault", [{"mode": "slow", "delay_s": 0.5}, {"mode": "e503"}])
async def test_either_half_of_the_fence_stops_a_worker_that_was_overtaken(
    res: Resources,
    conn: Connection,
    announced: list[Event],
    gemini: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    fault: dict[str, object],
) -> None:
    monkeypatch.setattr("services.ai.rules.FIRST_PAUSE_S", 1.0)
    await gemini.post("/_emulator/faults", json=fault)
    zombie = asyncio.create_task(actions.answer_message(res, posted()))

    async def asked() -> list[object]:
        requests: list[object] = (await gemini.get("/_emulator/requests")).json()["requests"]
        return requests

    assert await eventually(asked)
    await conn.execute(f"UPDATE generation SET {how}")
    await zombie

    assert ends(announced) == []
    assert await conn.fetchval("SELECT status FROM generation") == "running"
    assert len(await asked()) == 1


async def test_a_worker_gives_up_nothing_that_is_anothers(conn: Connection) -> None:
    mine, anothers = posted(), posted()
    await claimed_by(conn, mine, 4711)
    await claimed_by(conn, anothers, 4712)

    await store.release_generations(conn, [mine.reply_id, anothers.reply_id], worker=4711)

    rows = await conn.fetch("SELECT id, worker FROM generation")
    assert {row["id"]: row["worker"] for row in rows} == {mine.reply_id: 0, anothers.reply_id: 4712}


async def test_a_worker_that_stops_writes_no_more(settings: Settings) -> None:
    started = asyncio.Event()

    async def forever(_: Writing) -> None:
        started.set()
        await asyncio.Event().wait()

    async with worker.alive(settings.database_url) as me:
        writing = asyncio.create_task(me.write(new_id(), new_id(), forever))
        await started.wait()

    await asyncio.wait([writing], timeout=1)
    assert writing.cancelled()


async def test_a_worker_holds_its_lock_and_takes_it_again_when_its_connection_is_lost(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CHECK_S", 0.05)
    async with worker.alive(settings.database_url) as me:
        first = await holder_of(conn, me.id)
        assert first is not None
        await conn.execute("SELECT pg_terminate_backend($1)", first)

        async def held_again() -> bool:
            return await holder_of(conn, me.id) not in {None, first}

        assert await eventually(held_again, within_s=15)

    async def free() -> bool:
        return await holder_of(conn, me.id) is None

    assert await eventually(free, within_s=15)


@pytest.mark.parametrize(("check_s", "keeps"), [(0.1, True), (60, False)])
async def test_a_worker_keeps_its_lock_for_as_long_as_it_asks_and_a_frozen_one_does_not(
    conn: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    check_s: float,
    keeps: bool,
) -> None:
    """F6: who is frozen leaves its connection open and asks nothing."""
    monkeypatch.setattr(worker, "CHECK_S", check_s)
    monkeypatch.setattr(worker, "LEASE_S", 1)
    async with worker.alive(settings.database_url) as me:
        first = await holder_of(conn, me.id)
        await asyncio.sleep(2 * worker.LEASE_S)
        then = await holder_of(conn, me.id)

    assert first is not None
    assert then == (first if keeps else None)


async def test_a_reply_is_announced_without_waiting_for_the_timer(
    patient_relay: None, res: Resources, conn: Connection, gemini: httpx2.AsyncClient
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 0.3})
    reply = asyncio.create_task(actions.answer_message(res, posted()))

    async def announced() -> bool:
        return bool(
            await conn.fetchval(
                "SELECT EXISTS (SELECT FROM generation) AND NOT EXISTS (SELECT FROM outbox)"
            )
        )

    assert await eventually(announced)
    await reply
    assert await eventually(announced)


async def test_a_start_that_is_broken_off_leaves_no_lock(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    hold = store.hold_worker_lock

    async def hold_and_hang(other: Connection, worker_id: int) -> None:
        await hold(other, worker_id)
        held.append(worker_id)
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "hold_worker_lock", hold_and_hang)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), worker.alive(settings.database_url):
            pass

    assert len(held) == 1

    async def free() -> bool:
        return await holder_of(conn, held[0]) is None

    assert await eventually(free, within_s=15)

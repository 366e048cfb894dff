from typing import Any

import asyncpg
import httpx2
import pytest

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import AIReplyFailed, AIReplyReady, Event, Usage
from services.ai.actions import replies as actions
from services.ai.models import Charge
from services.ai.resources import Resources
from services.ai.store import generations as store
from services.ai.tests.integration.asking import (
    calls,
    claimed_by,
    ends,
    posted,
    refusing,
    stopped_of,
)

pytestmark = pytest.mark.integration
CHARGE = Charge("test", Usage(), "1", 0, estimated=False)


async def test_an_end_that_cannot_be_announced_did_not_happen_and_the_next_delivery_makes_up_for_it(
    res: Resources, conn: Connection, gemini: httpx2.AsyncClient
) -> None:
    event = posted()
    async with refusing(conn, AIReplyReady, AIReplyFailed):
        with pytest.raises(asyncpg.CheckViolationError):
            await actions.answer_message(res, event)
    assert await conn.fetchval("SELECT status FROM generation") == "running"

    await actions.answer_message(res, event)

    assert await conn.fetchval("SELECT status FROM generation") == "completed"


async def test_what_is_written_waits_for_postgresql_and_is_not_paid_for_again(
    res: Resources,
    conn: Connection,
    gemini: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end, lost = store.end_generation, iter([ConnectionResetError, TimeoutError])

    async def lose_two(*args: Any, **options: Any) -> bool:
        for error in lost:
            raise error
        return await end(*args, **options)

    monkeypatch.setattr(store, "end_generation", lose_two)
    monkeypatch.setattr(actions, "END_RETRY_S", 0.01)
    await actions.answer_message(res, posted())

    assert await conn.fetchval("SELECT status FROM generation") == "completed"
    assert await calls(gemini) == 1


async def test_a_text_that_cannot_be_stored_ends_as_a_failure(
    res: Resources, conn: Connection, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    async with refusing(conn, AIReplyReady):
        await actions.answer_message(res, posted())

    assert ends(announced) == ["AIReplyFailed"]
    assert await conn.fetchval("SELECT status FROM generation") == "failed"


async def test_an_end_is_stored_once(conn: Connection) -> None:
    event = posted()
    await claimed_by(conn, event, 4711)

    stored = [
        await store.end_generation(conn, end, CHARGE, worker=4711, now=utc_now(), counts_days=False)
        for end in (stopped_of(event), stopped_of(event))
    ]

    assert stored == [True, False]
    assert await conn.fetchval("SELECT status FROM generation") == "stopped"

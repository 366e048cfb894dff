"""What a dead worker leaves behind is taken over by others, all of it at once."""

import asyncio

import pytest

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import MessagePosted
from services.ai.models import Claim
from services.ai.resources import Resources
from services.ai.store import generations as store
from services.ai.tests.integration.asking import posted

pytestmark = pytest.mark.integration
DEAD = 4711


async def test_many_replies_of_a_dead_worker_are_claimed_at_once(
    res: Resources, conn: Connection
) -> None:
    events = [posted() for _ in range(res.settings.prefetch)]
    await conn.executemany(
        """
        INSERT INTO generation
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 1, $4, 'test', now())
        """,
        [(event.reply_id, event.user_id, event.chatroom_id, DEAD) for event in events],
    )

    async def claim(event: MessagePosted) -> Claim | None:
        async with res.db.acquire() as own, own.transaction():
            return await store.claim_generation(
                own,
                event,
                model="test",
                worker=res.worker.id,
                now=utc_now(),
                cost_micros=1,
                day_limit=None,
            )

    claims = await asyncio.gather(*map(claim, events))

    assert [taken and taken.attempt for taken in claims] == [2] * len(events)

"""What chat has failed meanwhile is no longer asked, nor paid for."""

from datetime import timedelta

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import AIReplyFailed, AIReplyReady, Event, MessagePosted
from libs.common.testing import eventually
from services.ai.actions import replies
from services.ai.resources import Resources
from services.ai.tests.integration.asking import calls, end_of, has_ended, last_entry, posted

pytestmark = pytest.mark.integration


def asked(res: Resources, *, before_the_deadline_s: float) -> MessagePosted:
    """Return a message whose reply has that long until chat fails it."""
    age_s = res.settings.reply_deadline_s - before_the_deadline_s
    return posted(occurred_at=utc_now() - timedelta(seconds=age_s))


async def test_a_prompt_that_waited_past_its_deadline_fails_without_a_call(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    announced: list[Event],
) -> None:
    event = asked(res, before_the_deadline_s=-1)
    async with res.db.acquire() as own, own.transaction():
        await outbox.add(own, event)
    res.relay.nudge()

    async def shown() -> bool:
        return has_ended(announced, event) and await last_entry(redis, event) == "failed"

    assert await eventually(shown, within_s=10)
    failed = end_of(announced, event, AIReplyFailed)
    assert (failed.code, failed.content, failed.retryable) == ("reply_timed_out", "", True)
    assert await calls(gemini) == 0
    row = await conn.fetchrow("SELECT * FROM usage_ledger")
    assert row is not None
    assert (row["subject_id"], row["total_tokens"], row["cost_micros"]) == (event.reply_id, 0, 0)


async def test_a_worker_that_takes_an_overdue_reply_over_asks_no_model_either(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = asked(res, before_the_deadline_s=-1)
    await conn.execute(
        """
        INSERT INTO generation
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 1, 4711, 'test', now())
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
    )

    await replies.answer_message(res, event)

    assert end_of(announced, event, AIReplyFailed).code == "reply_timed_out"
    assert await calls(gemini) == 0


async def test_a_prompt_that_waited_almost_until_its_deadline_is_answered(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = asked(res, before_the_deadline_s=30)

    await replies.answer_message(res, event)

    assert end_of(announced, event, AIReplyReady).content

"""L6: one user's prompts do not starve another's."""

import asyncio
from time import monotonic

import httpx2
import pytest

from libs.common import outbox, topology
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import AIReplyReady, Event, MessagePosted
from libs.common.testing import eventually
from services.ai.actions import replies, stops
from services.ai.errors import TooManyRepliesError
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import claimed, end_of, posted, stop_of

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"first_token_timeout_s": 30, "prefetch": 64})


async def test_100_prompts_of_one_user_do_not_keep_another_waiting(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    """L6: the other's reply is there within 15 s.

    The greedy user's replies take 20 s each, and there are more than one worker takes.
    """
    greedy = new_id()
    await gemini.post(
        "/_emulator/faults", json={"mode": "slow", "delay_s": 20, "times": 999, "match": "greedy"}
    )
    modest = posted("modest")
    many = [posted("greedy", user_id=greedy) for _ in range(100)]
    async with res.db.acquire() as own, own.transaction():
        for event in many:
            await outbox.add(own, event)
        await outbox.add(own, modest)
    res.relay.nudge()
    began = monotonic()

    async def answered() -> bool:
        status: str | None = await conn.fetchval(
            "SELECT status FROM generation WHERE id = $1", modest.reply_id
        )
        return status == "completed"

    assert await eventually(answered, within_s=15)
    assert monotonic() - began <= 15
    running = await conn.fetchval("SELECT count(*) FROM generation WHERE user_id = $1", greedy)
    assert running == res.settings.concurrent_replies_per_user
    for event in many:
        await stops.stop_reply(res, stop_of(event))
    await purge(res)


async def purge(res: Resources) -> None:
    """Take what waits in the queues away, for the tests that follow."""

    async def idle() -> bool:
        return not res.worker.writing

    assert await eventually(idle)
    waiting = [topology._delay_queue(seconds) for seconds in topology.DELAYS_S[:2]]
    for each in (*waiting, topology.queue("ai", MessagePosted)):
        await (await res.brokers.publish.declare_queue(each)).purge()


async def test_a_user_with_too_many_replies_waits_and_a_redelivery_of_one_of_them_does_not(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    user_id = new_id()
    events = [posted(user_id=user_id) for _ in range(4)]
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 1, "times": 4})
    writing = [asyncio.create_task(replies.answer_message(res, event)) for event in events]

    async def all_run() -> bool:
        return await claimed(res) == 4

    assert await eventually(all_run)
    with pytest.raises(TooManyRepliesError):
        await replies.answer_message(res, posted(user_id=user_id))
    await replies.answer_message(res, events[0])
    await asyncio.gather(*writing)

    assert TooManyRepliesError.patient
    for event in events:
        end_of(announced, event, AIReplyReady)

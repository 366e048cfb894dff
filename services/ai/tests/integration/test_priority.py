"""L6: prompts of who pays do not wait behind those of who does not."""

from time import monotonic

import httpx2
import pytest

from libs.common import outbox, topology
from libs.common.db import Connection
from libs.common.events import MessagePosted, PriorityMessagePosted
from libs.common.testing import eventually
from services.ai.actions import stops
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import posted, stop_of

pytestmark = pytest.mark.integration
PREFETCH = 5


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"first_token_timeout_s": 60, "prefetch": PREFETCH})


async def test_a_backlog_of_basic_prompts_keeps_no_pro_prompt_waiting(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    """L6: every one of the worker's places for Basic is taken for long, and more prompts wait."""
    await gemini.post(
        "/_emulator/faults", json={"mode": "slow", "delay_s": 50, "times": 99, "match": "basic"}
    )
    slow = [posted("basic") for _ in range(5 * PREFETCH)]
    await announce(res, *slow)

    async def are_full() -> bool:
        running: int = await conn.fetchval("SELECT count(*) FROM generation")
        waiting = await topology.count_waiting(res.brokers.publish, "ai", MessagePosted)
        return running == PREFETCH and waiting == len(slow) - PREFETCH

    assert await eventually(are_full, within_s=20)
    pro = PriorityMessagePosted(**posted("pro").model_dump() | {"plan": "pro"})
    began = monotonic()
    await announce(res, pro)

    async def is_answered() -> bool:
        status: str | None = await conn.fetchval(
            "SELECT status FROM generation WHERE id = $1", pro.reply_id
        )
        return status == "completed"

    assert await eventually(is_answered, within_s=15)
    assert monotonic() - began < 15
    assert await conn.fetchval("SELECT count(*) FROM generation WHERE status = 'running'") == (
        PREFETCH
    )
    waiting = await res.brokers.publish.declare_queue(topology.queue("ai", MessagePosted))
    await waiting.purge()
    for event in slow:
        await stops.stop_reply(res, stop_of(event))

    async def idle() -> bool:
        return not res.worker.writing

    assert await eventually(idle)


async def announce(res: Resources, *events: MessagePosted) -> None:
    async with res.db.acquire() as own, own.transaction():
        for event in events:
            await outbox.add(own, event)
    res.relay.nudge()


def test_a_prompt_of_a_chat_that_knows_no_plans_is_one_of_basic() -> None:
    """During a rolling upgrade."""
    told = posted().model_dump_json(exclude={"plan"})

    event = MessagePosted.model_validate_json(told)

    assert event.plan == "basic"

"""Most of a reply is waiting for the model, so one worker writes many."""

import httpx2
import pytest

from libs.common import outbox
from libs.common.db import Connection
from libs.common.testing import eventually
from services.ai.actions import stops
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import posted, stop_of

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"first_token_timeout_s": 60})


async def test_one_worker_writes_200_replies_at_the_same_time(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    order = {"mode": "slow", "delay_s": 50, "times": 200, "match": "of many"}
    await gemini.post("/_emulator/faults", json=order)
    events = [posted("one of many") for _ in range(200)]

    async with res.db.acquire() as own, own.transaction():
        for event in events:
            await outbox.add(own, event)
    res.relay.nudge()

    async def all_run() -> bool:
        found: int = await conn.fetchval(
            "SELECT count(*) FROM generation WHERE status = 'running' AND id = ANY($1)",
            [event.reply_id for event in events],
        )
        return found == len(events)

    assert await eventually(all_run, within_s=40)
    for event in events:
        await stops.stop_reply(res, stop_of(event))

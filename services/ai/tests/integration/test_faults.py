"""Whatever Gemini does, for as long as it does it: text, or a typed problem, soon."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

import httpx2
import pytest
from redis.asyncio import Redis

from deploy.local.gemini.faults import MODES
from libs.common import outbox
from libs.common.db import Connection
from libs.common.events import AIReplyFailed, AIReplyReady, Event, MessagePosted
from libs.common.testing import eventually
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.tests.integration.asking import (
    calls,
    end_of,
    has_ended,
    last_entry,
    live_text,
    posted,
)

pytestmark = pytest.mark.integration
MOST_S = 60.0
MOST_CALLS = 10


@dataclass(frozen=True)
class Outcome:
    """How a reply ends while the fault lasts.

    Attributes:
        code: of its problem; None for text.
        calls: to the model, exactly.
        retryable: whether the user is told to send the message again.
    """

    code: str | None = None
    calls: int = 1
    retryable: bool = False


TEXT = Outcome()
REJECTED = Outcome("model_rejected")
BLOCKED = Outcome("content_blocked")
AWAY = Outcome("model_unavailable", 6, retryable=True)
CUT_SHORT = Outcome("reply_interrupted", 6, retryable=True)
EMPTY = Outcome("reply_empty", 6, retryable=True)
OUTCOMES = {
    **dict.fromkeys(("e400", "e401", "e403", "e404"), REJECTED),
    "e429": Outcome("model_overloaded", 6, retryable=True),
    **dict.fromkeys(("e500", "e502html", "e503", "e504"), AWAY),
    **dict.fromkeys(("slow", "stall", "cut", "garbage", "badjson", "error"), AWAY),
    **dict.fromkeys(("truncated", "empty", "finish"), CUT_SHORT),
    **dict.fromkeys(("safety", "safety_empty", "recitation", "blocked"), BLOCKED),
    **dict.fromkeys(("max_tokens_empty", "tool_call"), EMPTY),
    **dict.fromkeys(("unruly", "long", "instant"), TEXT),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Little patience, so that the silent faults take seconds; the number of calls is the real."""
    return settings.model_copy(update={"first_token_timeout_s": 1, "silence_timeout_s": 1})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ai.rules.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("services.ai.breaker.FAILURES", 99)  # it would spare calls


@pytest.fixture
async def faulty(gemini: httpx2.AsyncClient) -> AsyncIterator[httpx2.AsyncClient]:
    yield gemini
    await gemini.delete("/_emulator/faults")


async def announce(res: Resources, event: MessagePosted) -> None:
    async with res.db.acquire() as conn, conn.transaction():
        await outbox.add(conn, event)
    res.relay.nudge()


def test_the_table_has_every_fault_that_the_emulator_knows() -> None:
    assert set(OUTCOMES) == set(MODES)


@pytest.mark.parametrize(("mode", "outcome"), OUTCOMES.items())
async def test_every_lasting_fault_ends_in_text_or_a_typed_problem_and_the_next_message_works(
    res: Resources,
    faulty: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    announced: list[Event],
    mode: str,
    outcome: Outcome,
) -> None:
    """U2: visibly within 60 s and 10 calls. L5: 2 calls for what is blocked, 6 for what is empty.

    The message comes over the broker, as from chat.
    """
    fault = {"mode": mode, "times": 99, "match": "faulty", "retry_after_s": 0, "delay_s": 30}
    ordered = await faulty.post("/_emulator/faults", json=fault)
    assert ordered.status_code == 201, ordered.text
    event, following = posted("faulty"), posted("next")
    began = monotonic()

    await announce(res, event)

    async def ended() -> bool:
        return has_ended(announced, event)

    await eventually(ended, within_s=MOST_S)
    took_s = monotonic() - began
    made = await calls(faulty)
    if outcome.code is None:
        assert end_of(announced, event, AIReplyReady).content.strip()
    else:
        failed = end_of(announced, event, AIReplyFailed)
        assert (failed.code, failed.retryable) == (outcome.code, outcome.retryable)
        assert failed.detail
    assert took_s < MOST_S
    assert made == outcome.calls <= MOST_CALLS
    status = "failed" if outcome.code else "completed"

    async def shown() -> bool:
        return await last_entry(redis, event) == status

    await eventually(shown)
    assert await conn.fetchval("SELECT status FROM generation") == status
    if outcome.code is None:
        assert await live_text(redis, event) == end_of(announced, event, AIReplyReady).content
    await announce(res, following)

    async def followed() -> bool:
        return has_ended(announced, following)

    await eventually(followed, within_s=15)
    assert end_of(announced, following, AIReplyReady).content.strip()

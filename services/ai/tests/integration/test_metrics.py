from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest

from libs.common.clock import utc_now
from libs.common.events import PriorityMessagePosted
from libs.common.testing import counted
from services.ai.actions import replies
from services.ai.resources import Resources
from services.ai.tests.integration.asking import posted

pytestmark = pytest.mark.integration
CALLS = "thoughtflow_model_calls_total"
TTFT = "thoughtflow_time_to_first_token_seconds_count"
SPEED = "thoughtflow_model_tokens_per_second"
AGE = "thoughtflow_prompt_queue_age_seconds"
Changed = Callable[..., Resources]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ai.rules.FIRST_PAUSE_S", 0.01)


async def test_each_call_of_a_model_is_counted_by_its_outcome(
    changed: Changed, gemini: httpx2.AsyncClient
) -> None:
    res = changed(model_attempts=2)
    model = res.settings.gemini_model

    def now() -> list[float]:
        return [
            counted(CALLS, model=model, outcome="ok"),
            counted(CALLS, model=model, outcome="model_unavailable"),
            counted(TTFT, model=model),
            counted(f"{SPEED}_count", model=model),
        ]

    before = now()
    await gemini.post("/_emulator/faults", json={"mode": "e503", "times": 1})

    await replies.answer_message(res, posted())

    assert [after - old for after, old in zip(now(), before, strict=True)] == [1, 1, 1, 1]
    assert counted(f"{SPEED}_sum", model=model) > 0


async def test_the_age_of_a_prompt_is_taken_when_it_is_claimed(res: Resources) -> None:
    occurred_at = utc_now() - timedelta(seconds=20)
    event = posted(occurred_at=occurred_at)
    pro = PriorityMessagePosted(**event.model_dump())
    before = counted(f"{AGE}_sum", type=pro.TYPE)

    await replies.answer_message(res, pro)
    await replies.answer_message(res, pro)  # a repetition claims nothing

    assert 20 <= counted(f"{AGE}_sum", type=pro.TYPE) - before < 35

"""Which model answers while one of them does not."""

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest

from libs.common.events import AIReplyFailed, AIReplyReady, Event
from services.ai import breaker
from services.ai.actions import replies
from services.ai.resources import Resources
from services.ai.tests.integration.asking import end_of, posted

pytestmark = pytest.mark.integration
OTHER = "gemini-2.5-flash"
OUTAGE_S = 15.0
Changed = Callable[..., Resources]


async def asked(gemini: httpx2.AsyncClient) -> list[str]:
    return [c["model"] for c in (await gemini.get("/_emulator/requests")).json()["requests"]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ai.rules.FIRST_PAUSE_S", 0.01)


async def test_the_fallback_answers_when_the_last_try_of_the_first_model_failed(
    changed: Changed, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    """U1: with a fallback it is at most 8 calls."""
    res = changed(gemini_fallback_model=OTHER, model_attempts=2)
    await gemini.post("/_emulator/faults", json={"mode": "e503", "times": 2})

    event = posted()
    await replies.answer_message(res, event)

    ready = end_of(announced, event, AIReplyReady)
    assert (ready.model, ready.attempt) == (OTHER, 3)
    assert await asked(gemini) == [res.settings.gemini_model] * 2 + [OTHER]


async def test_an_open_breaker_leads_to_the_fallback_at_once(
    changed: Changed, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    res = changed(gemini_fallback_model=OTHER)
    for _ in range(breaker.FAILURES):
        res.breakers.of(res.settings.gemini_model).failed()

    event = posted()
    await replies.answer_message(res, event)

    ready = end_of(announced, event, AIReplyReady)
    assert (ready.model, ready.attempt) == (OTHER, 1)
    assert await asked(gemini) == [OTHER]


async def test_failures_of_several_replies_open_the_breaker_together(
    changed: Changed, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    res = changed(gemini_fallback_model=OTHER, model_attempts=1)
    await gemini.post(
        "/_emulator/faults", json={"mode": "e503", "times": breaker.FAILURES, "match": "first"}
    )
    for number in range(breaker.FAILURES):
        # The fallback has its own faults left: the next order is used by the first model alone.
        await replies.answer_message(changed(model_attempts=1), posted(f"first {number}"))
    await gemini.delete("/_emulator/requests")

    await replies.answer_message(res, posted("second"))

    assert await asked(gemini) == [OTHER]


async def test_a_blocked_message_is_not_put_to_the_fallback(
    changed: Changed, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    """L5: at most 2 calls for what is blocked."""
    res = changed(gemini_fallback_model=OTHER)
    await gemini.post("/_emulator/faults", json={"mode": "blocked", "times": 9})

    event = posted()
    await replies.answer_message(res, event)

    end_of(announced, event, AIReplyFailed)
    assert len(await asked(gemini)) == 1


async def test_an_outage_is_waited_out_and_takes_few_calls(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    """U3: 15 s, while 30 messages come; all are answered, with 8 calls at most for each."""
    await gemini.post("/_emulator/faults", json={"mode": "e503", "times": 9999})
    events = [posted(f"message {number}.") for number in range(30)]

    async def come(number: int) -> None:
        await asyncio.sleep(number / 3)  # the first when it begins, the last 10 s later
        await replies.answer_message(res, events[number])

    async def recover() -> None:
        await asyncio.sleep(OUTAGE_S)
        await gemini.delete("/_emulator/faults")

    await asyncio.gather(recover(), *map(come, range(len(events))))

    for event in events:
        end_of(announced, event, AIReplyReady)
    log = (await gemini.get("/_emulator/requests")).json()["requests"]
    made = Counter(call["last_user_text"] for call in log)
    assert set(made) == {event.content for event in events}
    assert max(made.values()) <= 8
    assert sum(made.values()) <= 3 * len(events)  # the breaker spares most


async def test_a_breaker_that_stays_open_ends_the_reply_visibly(
    res: Resources,
    gemini: httpx2.AsyncClient,
    announced: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """U2: also where no call is allowed."""
    monkeypatch.setattr("services.ai.rules.RETRY_WINDOW_S", 1.0)
    for _ in range(breaker.FAILURES):
        res.breakers.of(res.settings.gemini_model).failed()

    event = posted()
    await replies.answer_message(res, event)

    failed = end_of(announced, event, AIReplyFailed)
    assert (failed.code, failed.retryable) == ("model_unavailable", True)
    assert await asked(gemini) == []


async def test_a_model_that_the_user_chose_is_the_one_that_answers(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = posted(model=OTHER)
    await replies.answer_message(res, event)

    ready = end_of(announced, event, AIReplyReady)
    assert ready.model == OTHER
    assert await asked(gemini) == [OTHER]


@pytest.mark.filterwarnings("ignore:.*is not a valid FinishReason")
@pytest.mark.parametrize(
    ("reason", "code", "calls"),
    [("BORED", "model_failed", 1), ("SPII", "content_blocked", 1), ("OTHER", "", 2)],
)
async def test_a_finish_reason_on_the_wire_ends_typed_even_if_it_is_new(
    res: Resources,
    gemini: httpx2.AsyncClient,
    announced: list[Event],
    reason: str,
    code: str,
    calls: int,
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "finish", "reason": reason})

    event = posted()
    await replies.answer_message(res, event)

    if code:
        assert end_of(announced, event, AIReplyFailed).code == code
    else:
        end_of(announced, event, AIReplyReady)
    assert len(await asked(gemini)) == calls

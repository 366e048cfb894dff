"""What may be spent: held before a call, settled after it."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import httpx2
import pytest

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    ConversationGrew,
    Entitlements,
    Event,
    MessagePosted,
    SubscriptionChanged,
    Turn,
    Usage,
)
from libs.common.testing import eventually
from services.ai.actions import entitlements, replies, stops, summaries, titles
from services.ai.catalogue import cost_of
from services.ai.models import Claim
from services.ai.resources import Resources
from services.ai.store import generations
from services.ai.tests.integration.asking import (
    calls,
    claimed_by,
    end_of,
    ends,
    posted,
    stop_of,
)

pytestmark = pytest.mark.integration
Change = Callable[..., Resources]


async def limit(res: Resources, user_id: UUID, micros: int | None, version: int = 1) -> None:
    plan = SubscriptionChanged(
        user_id=user_id,
        version=version,
        plan="basic",
        status="none",
        entitlements=Entitlements(messages_per_day=None, cost_micros_per_month=micros),
    )
    await entitlements.apply_subscription(res, plan)


async def held(conn: Connection) -> tuple[int, int]:
    """Return what is settled and what is reserved, in all months of all users."""
    row = await conn.fetchrow(
        """
        SELECT coalesce(sum(settled_micros), 0)::bigint, coalesce(sum(reserved_micros), 0)::bigint
        FROM budget
        """
    )
    assert row is not None
    return row[0], row[1]


async def test_a_running_reply_holds_its_highest_cost_and_its_end_settles_the_true_one(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 1})
    writing = asyncio.create_task(replies.answer_message(res, event))
    assert await eventually(lambda: calls(gemini))

    settled, reserved = await held(conn)
    await writing

    assert settled == 0
    assert reserved > cost_of(Usage(output=4096), res.settings.gemini_model)[0]
    cost = await conn.fetchval("SELECT cost_micros FROM usage_ledger")
    assert 0 < cost < reserved
    assert await held(conn) == (cost, 0)


async def test_the_dearest_of_the_models_that_may_be_asked_is_held(
    changed: Change, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    res = changed(gemini_fallback_model="gemini-3.1-pro-preview", gemini_model="gemini-2.5-flash")

    await replies.answer_message(res, posted())

    held_then = await conn.fetchval("SELECT reserved_micros FROM generation")
    assert held_then >= cost_of(Usage(output=4096), "gemini-3.1-pro-preview")[0]


async def test_parallel_replies_cannot_overspend_a_budget(
    changed: Change, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    """Ten at once, and room for three."""
    res = changed(concurrent_replies_per_user=10)
    user_id = new_id()
    await limit(res, user_id, 40_000)  # one may cost 12,288 and a little
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 1, "times": 10})
    events = [posted(user_id=user_id) for _ in range(10)]

    await asyncio.gather(*(replies.answer_message(res, event) for event in events))

    assert sorted(ends(announced)) == ["AIReplyFailed"] * 7 + ["AIReplyReady"] * 3
    assert await calls(gemini) == 3
    failed = next(each for each in announced if isinstance(each, AIReplyFailed))
    assert (failed.code, failed.content, failed.retryable) == ("budget_exceeded", "", False)
    assert "POST /subscribe/pro" in failed.detail
    assert await held(conn) == (await spent(res), 0)


async def spent(res: Resources) -> int:
    micros: int = await res.db.fetchval("SELECT sum(cost_micros)::bigint FROM usage_ledger")
    return micros


async def test_a_higher_limit_counts_with_the_next_message(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    user_id = new_id()
    await limit(res, user_id, 10_000)
    first, second = posted(user_id=user_id), posted(user_id=user_id)

    await replies.answer_message(res, first)
    await limit(res, user_id, 20_000, version=2)
    await limit(res, user_id, 0, version=1)  # late
    await replies.answer_message(res, second)

    assert end_of(announced, first, AIReplyFailed).code == "budget_exceeded"
    end_of(announced, second, AIReplyReady)


async def test_the_installations_day_has_a_budget_over_all_users(
    changed: Change, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    res = changed(budget_micros_per_day=30_000)
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 1, "times": 10})
    events = [posted() for _ in range(5)]

    await asyncio.gather(*(replies.answer_message(res, event) for event in events))

    assert sorted(ends(announced)) == ["AIReplyFailed"] * 3 + ["AIReplyReady"] * 2
    failed = next(each for each in announced if isinstance(each, AIReplyFailed))
    assert (failed.code, "today" in failed.detail) == ("budget_exceeded", True)
    row = await conn.fetchrow("SELECT settled_micros, reserved_micros FROM daily_budget")
    assert row is not None
    assert tuple(row) == (await spent(res), 0)
    assert await held(conn) == tuple(row)


@pytest.mark.parametrize("mode", ["blocked", "e400", "stall", "cut"])
async def test_a_reply_that_fails_gives_back_what_it_held(
    changed: Change, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event], mode: str
) -> None:
    res = changed(model_attempts=1)
    await gemini.post("/_emulator/faults", json={"mode": mode, "times": 9})

    await replies.answer_message(res, posted())

    assert ends(announced) == ["AIReplyFailed"]
    assert await held(conn) == (await spent(res), 0)


async def test_a_stopped_reply_settles_what_it_cost(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 1})
    writing = asyncio.create_task(replies.answer_message(res, event))
    assert await eventually(lambda: calls(gemini))

    await stops.stop_reply(res, stop_of(event))
    await writing

    assert ends(announced) == ["AIReplyStopped"]
    assert await held(conn) == (await spent(res), 0)
    assert await spent(res) > 0


async def test_the_reply_of_a_dead_worker_holds_once_and_settles_once(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    """It was begun by a process of the version before, then by one that died, then by us."""
    event = posted()
    await claimed_by(conn, event, worker=4711)
    claims = [await claim(res, event, worker) for worker in (4712, 4713)]

    assert [each.attempt for each in claims if each] == [2, 3]
    assert await held(conn) == (0, 1000)
    await replies.answer_message(res, event)
    await replies.answer_message(res, event)
    assert await held(conn) == (await spent(res), 0)


async def claim(res: Resources, event: MessagePosted, worker: int) -> Claim | None:
    async with res.db.acquire() as conn:
        return await generations.claim_generation(
            conn,
            event,
            model="m",
            worker=worker,
            now=utc_now(),
            cost_micros=1000,
            day_limit=None,
        )


async def test_over_budget_there_are_no_titles_and_no_summaries(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = posted()
    await limit(res, event.user_id, 100)
    turns = (Turn(role="user", content="hi"), Turn(role="assistant", content="ho"))
    grew = ConversationGrew(
        user_id=event.user_id, chatroom_id=event.chatroom_id, turns=turns, until=new_id()
    )

    await titles.give_title(res, event, reply="tea", model=res.settings.gemini_model)
    await summaries.summarise(res, grew)
    assert (await calls(gemini), announced) == (0, [])

    await limit(res, event.user_id, None, version=2)
    await titles.give_title(res, event, reply="tea", model=res.settings.gemini_model)
    await summaries.summarise(res, grew)
    assert [type(each).__name__ for each in announced] == ["ChatroomTitled", "ChatroomSummarised"]


async def test_titles_and_summaries_count(
    changed: Change, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    res = changed(budget_micros_per_day=10**9)

    await replies.answer_message(res, posted(wants_title=True))

    async def has_title() -> bool:
        return bool(await conn.fetchval("SELECT count(*) = 2 FROM usage_ledger"))

    assert await eventually(has_title)
    assert await held(conn) == (await spent(res), 0)
    assert await conn.fetchval("SELECT settled_micros FROM daily_budget") == await spent(res)

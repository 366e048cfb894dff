"""A user's end, as ai sees it."""

import asyncio

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.deleted_users import StillErasingError, redis_key
from libs.common.events import (
    ConversationGrew,
    Entitlements,
    Event,
    MessagePosted,
    SubscriptionChanged,
    Turn,
    Usage,
    UserDeleted,
)
from libs.common.testing import eventually
from services.ai.actions import deletion, entitlements, replies, stops, summaries, titles
from services.ai.models import Charge
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.store import deletion as store
from services.ai.store import generations
from services.ai.tests.integration.asking import (
    calls,
    claimed_by,
    ends,
    posted,
    stop_of,
    stopped_of,
)

pytestmark = pytest.mark.integration
TABLES = ("generation", "usage_ledger", "entitlement", "budget", "outbox")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"first_token_timeout_s": 30, "silence_timeout_s": 30})


async def forgotten(res: Resources, event: MessagePosted) -> None:
    """Delete the event's user, as often as it takes."""

    async def is_done() -> bool:
        try:
            await deletion.forget_user(res, UserDeleted(user_id=event.user_id))
        except StillErasingError:
            return False
        return True

    await eventually(is_done, within_s=10)


async def names_user(conn: Connection, *events: MessagePosted) -> list[str]:
    """Return the tables that name an id of these events."""
    found = []
    for name in TABLES:
        text = str([tuple(row) for row in await conn.fetch(f"SELECT * FROM {name}")])
        ids = {
            str(each)
            for event in events
            for each in (event.user_id, event.chatroom_id, event.reply_id, event.event_id)
        }
        found += [name] if any(each in text for each in ids) else []
    return found


async def test_what_was_spent_stays_and_nobody_knows_by_whom(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, redis: Redis
) -> None:
    """P3: the ledger keeps tokens, cost and day; everything else goes."""
    mine, other = posted(), posted()
    for event in (mine, other):
        await replies.answer_message(res, event)
    spent = await conn.fetchval("SELECT sum(total_tokens) FROM usage_ledger")
    await eventually(lambda: is_empty(conn, "outbox"))

    await forgotten(res, mine)
    await forgotten(res, mine)

    assert spent > 0
    assert await conn.fetchval("SELECT sum(total_tokens) FROM usage_ledger") == spent
    assert await names_user(conn, mine) == []
    assert await names_user(conn, other) == ["generation", "usage_ledger", "budget"]
    (row,) = await conn.fetch("SELECT * FROM usage_ledger WHERE user_id IS NULL")
    assert row["chatroom_id"] is None
    assert (row["ended_at"].hour, row["ended_at"].minute, row["ended_at"].second) == (0, 0, 0)
    keys = str(await redis.keys("*"))
    assert str(mine.user_id) not in keys
    assert str(other.user_id) in keys
    assert redis_key(mine.user_id) in keys


async def is_empty(conn: Connection, table: str) -> bool:
    return bool(await conn.fetchval(f"SELECT count(*) = 0 FROM {table}"))


@pytest.mark.parametrize("deleter", ["own", "other"])
async def test_a_reply_that_is_being_written_is_stopped_first(
    res: Resources,
    other: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    announced: list[Event],
    deleter: str,
) -> None:
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "slow", "delay_s": 60, "times": 9})
    writing = asyncio.create_task(replies.answer_message(res, event))
    assert await eventually(lambda: calls(gemini))

    await forgotten(res if deleter == "own" else other, event)
    await writing

    assert ends(announced) == ["AIReplyStopped"]
    await eventually(lambda: is_empty(conn, "outbox"))
    assert await names_user(conn, event) == []
    assert await conn.fetchval("SELECT count(*) FROM usage_ledger") == 1
    assert str(event.user_id) not in str(await redis.keys("*"))


async def test_what_a_dead_worker_left_behind_goes_at_once(
    res: Resources, conn: Connection
) -> None:
    event = posted()
    await claimed_by(conn, event, worker=4711)

    await deletion.forget_user(res, UserDeleted(user_id=event.user_id))

    assert await names_user(conn, event) == []


async def test_what_a_reply_settles_that_ends_just_now_goes_as_well(
    res: Resources, conn: Connection
) -> None:
    event = posted()
    await claimed_by(conn, event, worker=4711)

    async def erase() -> None:
        async with res.db.acquire() as other, other.transaction():
            await store.delete_generations(other, event.user_id)
            await store.delete_budget(other, event.user_id)

    async def waits() -> bool:
        waiting: bool = await conn.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        )
        return waiting

    async with res.db.acquire() as writer, writer.transaction():
        spent = Charge("m", Usage(), "test", cost_micros=7, estimated=False)
        await generations.end_generation(
            writer, stopped_of(event), spent, worker=4711, now=utc_now(), counts_days=False
        )
        erasing = asyncio.create_task(erase())
        await eventually(waits)
    await erasing

    assert await conn.fetchval("SELECT count(*) FROM budget") == 0


async def test_what_comes_late_asks_no_model_and_leaves_nothing(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, redis: Redis
) -> None:
    """P3, E3: messages, stops, plans, titles and summaries that were on their way."""
    event = posted()
    await deletion.forget_user(res, UserDeleted(user_id=event.user_id))
    asked = await calls(gemini)

    await replies.answer_message(res, event)
    await stops.stop_reply(res, stop_of(event))
    grew = ConversationGrew(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        turns=(Turn(role="user", content="long ago"),),
        until=new_id(),
    )
    await summaries.summarise(res, grew)
    plan = SubscriptionChanged(
        user_id=event.user_id,
        version=1,
        plan="pro",
        status="active",
        entitlements=Entitlements(messages_per_day=None, models=("m",)),
    )
    await entitlements.apply_subscription(res, plan)
    assert await calls(gemini) == asked
    await titles.give_title(res, event, reply="tea", model="m")  # was begun before

    assert await names_user(conn, event) == []
    assert [await is_empty(conn, name) for name in TABLES] == [True] * len(TABLES)
    assert str(event.user_id) not in str(await redis.keys("*"))

"""A room's messages have their turn one after the other, whatever dies."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI
from faststream.rabbit import RabbitQueue

from libs.common import outbox
from libs.common.db import Connection
from libs.common.events import AIReplyStarted, Entitlements, MessagePosted, SubscriptionChanged
from libs.common.testing import eventually
from libs.common.topology import EVENTS
from services.chat import app as chat_app
from services.chat.actions import entitlements, replies
from services.chat.errors import DailyLimitReachedError
from services.chat.tests.integration.posting import (
    announced,
    failed,
    post,
    ready,
    status_of,
    used,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def patient_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that looks at the outbox when it is nudged, and hardly ever else."""
    monkeypatch.setattr(outbox, "SAFETY_NET_S", 60)


@pytest.fixture
def busy_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweeper that looks for overdue replies all the time."""
    monkeypatch.setattr(chat_app, "SWEEP_INTERVAL_S", 0.05)


async def make_overdue(conn: Connection, app: FastAPI) -> None:
    """Put everything that was posted and announced so far behind the deadline."""
    deadline = timedelta(seconds=app.state.resources.settings.reply_deadline_s + 1)
    await conn.execute(
        "UPDATE message SET created_at = created_at - $1::interval,"
        " announced_at = announced_at - $1::interval",
        deadline,
    )


async def test_a_reply_that_waits_for_its_turn_is_never_overdue(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    first, second = [await post(app, room_id, user_id, text) for text in ("a", "b")]
    await make_overdue(conn, app)

    assert await replies.fail_overdue_replies(res) == 1
    assert await replies.fail_overdue_replies(res) == 0  # its time starts with its turn

    assert [await status_of(conn, p.reply_id) for p in (first, second)] == ["failed", "queued"]
    assert await announced(conn) == 2


async def test_the_service_looks_for_overdue_replies_by_itself(
    busy_sweeper: None, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    posted = await post(app, room_id, user_id)
    await make_overdue(conn, app)

    async def has_failed() -> bool:
        return await status_of(conn, posted.reply_id) == "failed"

    assert await eventually(has_failed)


async def test_a_reply_that_comes_after_its_deadline_changes_nothing(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    first = await post(app, room_id, user_id, "a")
    await make_overdue(conn, app)
    await replies.fail_overdue_replies(res)
    second = await post(app, room_id, user_id, "b")
    third = await post(app, room_id, user_id, "c")

    await replies.record_reply(res, ready(first, room_id, user_id))

    assert [await status_of(conn, p.reply_id) for p in (first, second, third)] == [
        "failed",
        "queued",
        "queued",
    ]
    assert await announced(conn) == 2


async def test_a_crash_while_a_reply_ends_leaves_all_of_it_to_the_next_delivery(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    first, _ = [await post(app, room_id, user_id, text) for text in ("a", "b")]
    event = failed(first, room_id, user_id)

    await conn.execute("ALTER TABLE outbox ADD CHECK (false) NOT VALID")
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await replies.record_failure(res, event)
    finally:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_check")
    assert (await status_of(conn, first.reply_id), await used(conn, user_id)) == ("queued", 2)

    await replies.record_failure(res, event)

    assert (await status_of(conn, first.reply_id), await used(conn, user_id)) == ("failed", 1)
    assert await announced(conn) == 2


async def test_a_post_and_the_end_of_a_reply_never_wait_for_each_other(
    app: FastAPI,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    database_urls: dict[str, str],
) -> None:
    first = await post(app, room_id, user_id)
    holder = await asyncpg.connect(database_urls["chat"])

    async def waiting(statements: int) -> None:
        async def wait_for_locks() -> bool:
            count: int = await conn.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'thoughtflow.chat' AND wait_event_type = 'Lock'"
            )
            return count == statements

        assert await eventually(wait_for_locks)

    async with holder.transaction():
        await holder.execute("SELECT FROM quota FOR UPDATE")  # so that both meet, the end first
        end = asyncio.create_task(
            replies.record_failure(app.state.resources, failed(first, room_id, user_id))
        )
        await waiting(1)
        second = asyncio.create_task(post(app, room_id, user_id))
        await waiting(2)

    await asyncio.gather(end, second)
    assert await used(conn, user_id) == 1
    await holder.close()


async def test_a_late_word_of_an_older_attempt_does_not_bring_it_back(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    posted = await post(app, room_id, user_id)

    for attempt in (2, 1):
        started = AIReplyStarted(
            user_id=user_id,
            chatroom_id=room_id,
            reply_id=posted.reply_id,
            attempt=attempt,
            model=f"model {attempt}",
        )
        await replies.record_start(app.state.resources, started)

    row = await conn.fetchrow("SELECT * FROM message WHERE id = $1", posted.reply_id)
    assert row is not None
    assert (row["status"], row["attempt"], row["model"]) == ("running", 2, "model 2")


async def test_a_post_and_the_next_turn_are_published_at_once(
    patient_relay: None, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    async def published() -> bool:
        return not await conn.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    first = await post(app, room_id, user_id, "a")
    assert await eventually(published)
    await post(app, room_id, user_id, "b")

    await replies.record_reply(app.state.resources, ready(first, room_id, user_id))

    assert await announced(conn) == 2
    assert await eventually(published)


async def test_the_oldest_waiting_message_is_next_and_its_history_is_bounded(
    app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    res = app.state.resources
    queue = await res.brokers.publish.declare_queue(RabbitQueue("spy.turns", exclusive=True))
    await queue.bind(EVENTS.name, routing_key=MessagePosted.TYPE)

    async def take() -> MessagePosted:
        async def get() -> Any:
            return await queue.get(fail=False, no_ack=True)

        return MessagePosted.model_validate_json((await eventually(get)).body)

    texts = ("a" * 20_000, "b" * 20_000, "c", "d")
    first, second, *_ = [await post(app, room_id, user_id, text) for text in texts]
    await replies.record_reply(res, ready(first, room_id, user_id, "A" * 20_000))
    await replies.record_reply(res, ready(second, room_id, user_id, "B" * 20_000))

    events = [await take() for _ in range(3)]

    assert [event.content for event in events] == list(texts[:3])
    assert [[turn.content[0] for turn in event.history] for event in events] == [
        [],
        ["a", "A"],
        ["b", "B"],  # both turns would be longer than the budget
    ]
    await queue.delete(if_unused=False, if_empty=False)


async def test_a_reply_that_failed_today_gives_nothing_back_of_another_day(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    posted = await post(app, room_id, user_id)
    await conn.execute("UPDATE message SET counted_on = counted_on - 1")

    await replies.record_failure(app.state.resources, failed(posted, room_id, user_id))

    assert await used(conn, user_id) == 1


async def test_a_plan_without_messages_lets_none_through(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    nothing = SubscriptionChanged(
        user_id=user_id,
        version=1,
        plan="basic",
        status="none",
        entitlements=Entitlements(messages_per_day=0),
    )
    await entitlements.apply_subscription(app.state.resources, nothing)

    with pytest.raises(DailyLimitReachedError):
        await post(app, room_id, user_id)

    assert await conn.fetchval("SELECT count(*) FROM message") == 0

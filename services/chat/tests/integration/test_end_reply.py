import asyncio
from datetime import timedelta
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import AIReplyStarted, MessagePosted
from services.chat.actions import replies
from services.chat.tests.integration.posting import (
    announced,
    failed,
    post,
    ready,
    status_of,
    used,
)

pytestmark = pytest.mark.integration


async def test_a_reply_delivered_twice_is_stored_once_and_a_later_end_changes_nothing(
    app: FastAPI, room_id: UUID, user_id: UUID, client: httpx2.AsyncClient
) -> None:
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    event = ready(posted, room_id, user_id)

    await asyncio.gather(*(replies.record_reply(res, event) for _ in range(3)))
    await replies.record_failure(res, failed(posted, room_id, user_id))
    await replies.record_start(
        res,
        AIReplyStarted(
            user_id=user_id,
            chatroom_id=room_id,
            reply_id=posted.reply_id,
            attempt=9,
            model="late",
        ),
    )

    listed = (await client.get(f"/chatroom/{room_id}/message")).json()["data"]
    assert [(m["status"], m["content"]) for m in listed] == [
        ("completed", "hi"),
        ("completed", "hello"),
    ]


async def test_a_rooms_messages_are_answered_one_after_the_other(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """R7: in the order of the posts."""
    res = app.state.resources
    first, second, third = [await post(app, room_id, user_id, text) for text in ("a", "b", "c")]
    assert await announced(conn) == 1

    await replies.record_reply(res, ready(first, room_id, user_id, "A"))
    assert await announced(conn) == 2
    await replies.record_failure(res, failed(second, room_id, user_id))

    assert await announced(conn) == 3
    assert [await status_of(conn, p.reply_id) for p in (first, second, third)] == [
        "completed",
        "failed",
        "queued",
    ]


async def test_the_history_holds_answered_turns_in_order_and_nothing_of_another_room(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    other = UUID((await client.post("/chatroom", json={})).json()["id"])
    foreign = await post(app, other, user_id, "foreign")
    await replies.record_reply(res, ready(foreign, other, user_id, "FOREIGN"))
    for text in ("a", "b"):
        posted = await post(app, room_id, user_id, text)
        await replies.record_reply(res, ready(posted, room_id, user_id, text.upper()))
    broken = await post(app, room_id, user_id, "broken")
    await replies.record_failure(res, failed(broken, room_id, user_id, "half an ans"))
    lost = await post(app, room_id, user_id, "lost")
    await replies.record_failure(res, failed(lost, room_id, user_id))

    async with conn.transaction():  # keeps the relay away from what we read
        await conn.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")
        await conn.execute("UPDATE chatroom SET open_reply_id = NULL WHERE id = $1", room_id)
        await conn.execute(
            "UPDATE message SET status = 'queued', content = '' WHERE id = $1", lost.reply_id
        )
        await conn.execute(
            "SELECT announce_next_reply($1, $2, now(), NULL)", room_id, [new_id(), new_id()]
        )
        payload = await conn.fetchval("SELECT payload FROM outbox ORDER BY id DESC LIMIT 1")

    event = MessagePosted.model_validate_json(payload)
    assert event.content == "lost"
    assert [(turn.role, turn.content) for turn in event.history] == [
        ("user", "a"),
        ("assistant", "A"),
        ("user", "b"),
        ("assistant", "B"),
    ]


@pytest.mark.parametrize(("content", "left"), [("", 0), ("half a rep", 1)])
async def test_a_failure_before_any_word_gives_its_unit_back_once(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection, content: str, left: int
) -> None:
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    event = failed(posted, room_id, user_id, content)

    await replies.record_failure(res, event)
    await replies.record_failure(res, event)
    await replies.record_failure(res, event.model_copy(update={"event_id": new_id()}))

    assert await used(conn, user_id) == left


async def test_a_reply_that_nobody_ends_fails_after_the_deadline(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    assert await replies.fail_overdue_replies(res) == 0

    await conn.execute(
        "UPDATE message SET announced_at = $1 WHERE id = $2",
        utc_now() - timedelta(seconds=res.settings.reply_deadline_s + 1),
        posted.reply_id,
    )
    assert await replies.fail_overdue_replies(res) == 1

    assert await status_of(conn, posted.reply_id) == "failed"
    assert await used(conn, user_id) == 0

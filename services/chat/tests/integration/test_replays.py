"""A room after its events came again, and after a model that wrote nonsense."""

from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from services.chat.actions import replies
from services.chat.tests.integration.posting import (
    allow_everything,
    announced,
    failed,
    post,
    ready,
    started,
    stopped,
    turn,
)

pytestmark = pytest.mark.integration
NONSENSE = '<script>alert("1")</script>\u202e\u0007 ]]> {{7*7}} \u2028' + "🍵" * 200_000


async def test_a_rooms_events_replayed_backwards_change_nothing(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """E3: the history is byte for byte the same."""
    await allow_everything(app, user_id)
    res = app.state.resources
    told = []
    for number, end in enumerate((ready, failed, stopped, ready)):
        posted = await post(app, room_id, user_id, f"question {number}")
        start = started(posted, room_id, user_id)
        finish = end(posted, room_id, user_id, f"answer {number}")
        await replies.record_start(res, start)
        await record(app, finish)
        told += [start, finish]
    before = (await client.get(f"/chatroom/{room_id}/message")).content
    turns = await announced(conn)

    for event in reversed(told):
        await record(app, event)

    after = await client.get(f"/chatroom/{room_id}/message")
    assert after.content == before
    assert await announced(conn) == turns == 4
    assert [m["content"] for m in after.json()["data"] if m["role"] == "assistant"] == [
        f"answer {number}" for number in (3, 2, 1, 0)
    ]


async def record(app: FastAPI, event: object) -> None:
    records = {
        "AIReplyStarted": replies.record_start,
        "AIReplyReady": replies.record_reply,
        "AIReplyFailed": replies.record_failure,
        "AIReplyStopped": replies.record_stop,
    }
    await records[type(event).__name__](app.state.resources, event)  # type: ignore[operator]


async def test_whatever_a_model_writes_is_text_and_the_room_goes_on(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    """L4: 800 kB of it are stored as they are, and served as JSON that no browser runs."""
    await turn(app, room_id, user_id, "question", NONSENSE)
    following = await turn(app, room_id, user_id, "and now?", "fine")

    listed = await client.get(f"/chatroom/{room_id}/message")

    assert listed.headers["content-type"] == "application/json"
    assert listed.headers["x-content-type-options"] == "nosniff"
    contents = {message["content"] for message in listed.json()["data"]}
    assert contents == {"question", NONSENSE, "and now?", "fine"}
    assert following.reply_id is not None

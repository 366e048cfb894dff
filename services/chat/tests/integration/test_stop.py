import asyncio
import random
from itertools import permutations
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    MessagePosted,
    ReplyStopRequested,
)
from libs.common.testing import TokenIssuer
from services.chat.actions import replies
from services.chat.models import Posted
from services.chat.tests.integration.posting import (
    allow_everything,
    failed,
    post,
    ready,
    started,
    status_of,
    stopped,
    used,
    waiting,
)

pytestmark = pytest.mark.integration

ReplyEvent = AIReplyStarted | AIReplyReady | AIReplyFailed | AIReplyStopped


async def deliver(app: FastAPI, event: ReplyEvent) -> None:
    """Do what the consumer of the event does."""
    res = app.state.resources
    match event:
        case AIReplyStarted():
            await replies.record_start(res, event)
        case AIReplyReady():
            await replies.record_reply(res, event)
        case AIReplyFailed():
            await replies.record_failure(res, event)
        case AIReplyStopped():
            await replies.record_stop(res, event)


async def test_stopping_a_room_asks_for_the_end_of_all_its_open_replies_as_often_as_wanted(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
) -> None:
    running, queued = [await post(app, room_id, user_id, text) for text in ("a", "b")]
    await replies.record_start(app.state.resources, started(running, room_id, user_id))

    answers = [await client.post(f"/chatroom/{room_id}/stop") for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert [(m["id"], m["status"]) for m in answer.json()["data"]] == [
            (str(running.reply_id), "running"),
            (str(queued.reply_id), "queued"),
        ]
    asked = await waiting(conn, ReplyStopRequested)
    assert [event.reply_id for event in asked] == [running.reply_id, queued.reply_id] * 2
    assert {(event.user_id, event.chatroom_id) for event in asked} == {(user_id, room_id)}


@pytest.mark.parametrize("of", ["reply_id", "message_id"])
async def test_one_reply_is_stopped_and_once_it_ended_nothing_more_is_asked(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    of: str,
) -> None:
    first, _ = [await post(app, room_id, user_id, text) for text in ("a", "b")]
    url = f"/chatroom/{room_id}/message/{getattr(first, of)}/stop"

    open_answer = await client.post(url)
    await replies.record_stop(app.state.resources, stopped(first, room_id, user_id, "half"))
    ended_answer = await client.post(url)

    assert [(m["id"], m["status"]) for m in open_answer.json()["data"]] == [
        (str(first.reply_id), "queued")
    ]
    assert ended_answer.status_code == 200
    assert [(m["status"], m["content"]) for m in ended_answer.json()["data"]] == [
        ("stopped", "half")
    ]
    asked = await waiting(conn, ReplyStopRequested)
    assert [event.reply_id for event in asked] == [first.reply_id]


async def test_a_stranger_stops_nothing(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    issuer: TokenIssuer,
    conn: Connection,
) -> None:
    posted = await post(app, room_id, user_id)
    stranger = issuer.authorization(new_id())

    answers = [
        await client.post(f"/chatroom/{room_id}/stop", headers=stranger),
        await client.post(f"/chatroom/{room_id}/message/{posted.reply_id}/stop", headers=stranger),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert await waiting(conn, ReplyStopRequested) == []


@pytest.mark.parametrize(("content", "left"), [("", 0), ("half a rep", 1)])
async def test_a_stop_before_any_word_gives_its_unit_back_once(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection, content: str, left: int
) -> None:
    posted = await post(app, room_id, user_id)
    event = stopped(posted, room_id, user_id, content)

    for again in (event, event, event.model_copy(update={"event_id": new_id()})):
        await replies.record_stop(app.state.resources, again)

    assert await used(conn, user_id) == left
    assert await status_of(conn, posted.reply_id) == "stopped"


async def test_what_was_stopped_in_the_middle_is_part_of_the_next_prompt(
    kept_outbox: None, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    ends = [("a", "half of A"), ("b", ""), ("c", "half of C")]
    for text, content in ends:
        posted = await post(app, room_id, user_id, text)
        await replies.record_stop(app.state.resources, stopped(posted, room_id, user_id, content))
    lost = await post(app, room_id, user_id, "lost")
    await replies.record_failure(app.state.resources, failed(lost, room_id, user_id, "half lost"))

    await post(app, room_id, user_id, "d")

    prompt = (await waiting(conn, MessagePosted))[-1]
    assert [turn.content for turn in prompt.history] == ["a", "half of A", "c", "half of C"]


async def test_a_queued_reply_that_is_stopped_first_leaves_the_running_one_alone(
    kept_outbox: None, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    first, second, third = [await post(app, room_id, user_id, text) for text in ("a", "b", "c")]

    await replies.record_stop(app.state.resources, stopped(second, room_id, user_id))
    assert [e.reply_id for e in await waiting(conn, MessagePosted)] == [first.reply_id]
    await replies.record_reply(app.state.resources, ready(first, room_id, user_id))

    assert [e.reply_id for e in await waiting(conn, MessagePosted)] == [
        first.reply_id,
        third.reply_id,
    ]


async def state(conn: Connection, room_id: UUID, user_id: UUID) -> dict[str, Any]:
    """Return all that the events of replies may change, but times."""
    rows = await conn.fetch(
        "SELECT role, status, content, model, attempt, finish_reason, problem, on_path,"
        " announced_at IS NOT NULL AS announced FROM message WHERE chatroom_id = $1 ORDER BY id",
        room_id,
    )
    return {
        "messages": [tuple(row) for row in rows],
        "open": await conn.fetchval("SELECT open_reply_id FROM chatroom WHERE id = $1", room_id),
        "used": await used(conn, user_id),
    }


def story(posts: list[Posted], room_id: UUID, user_id: UUID) -> list[ReplyEvent]:
    """Return what ai announces of four posts: one answered, one failed, two stopped."""
    a, b, c, d = posts
    return [
        started(a, room_id, user_id),
        started(a, room_id, user_id, attempt=2),
        ready(a, room_id, user_id, "A").model_copy(update={"attempt": 2}),
        started(b, room_id, user_id),
        started(b, room_id, user_id, attempt=2),
        failed(b, room_id, user_id).model_copy(update={"attempt": 2}),
        started(c, room_id, user_id),
        stopped(c, room_id, user_id, "half"),
        stopped(d, room_id, user_id),
    ]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
async def test_events_that_arrive_three_times_in_any_order_end_in_the_same_state(
    app: FastAPI,
    client: httpx2.AsyncClient,
    user_id: UUID,
    conn: Connection,
    seed: int,
) -> None:
    """E2, E3: in any order, backwards among them."""
    await allow_everything(app, user_id)
    ends = []
    for shuffled in (False, True):
        await conn.execute("DELETE FROM quota")
        room_id = UUID((await client.post("/chatroom", json={"title": "Tea"})).json()["id"])
        posts = [await post(app, room_id, user_id, text) for text in "abcd"]
        events = story(posts, room_id, user_id)
        if shuffled:
            events = events * 3
            random.Random(seed).shuffle(events)
        for event in events:
            await deliver(app, event)
        ends.append(await state(conn, room_id, user_id))

    in_order, in_disorder = ends
    assert in_order["open"] is None
    assert [row[1] for row in in_order["messages"][1::2]] == [
        "completed",
        "failed",
        "stopped",
        "stopped",
    ]
    assert in_order["used"] == 2
    # A reply that ends before its turn never gets one; everything else is the same.
    assert [row[:-1] for row in in_disorder["messages"]] == [
        row[:-1] for row in in_order["messages"]
    ]
    assert (in_disorder["open"], in_disorder["used"]) == (None, 2)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_a_failed_reply_names_the_model_of_its_last_attempt_in_any_order(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection, order: tuple[int, ...]
) -> None:
    posted = await post(app, room_id, user_id)
    events: list[ReplyEvent] = [
        started(posted, room_id, user_id),
        started(posted, room_id, user_id, attempt=2),
        failed(posted, room_id, user_id).model_copy(update={"attempt": 2}),
    ]

    for number in order:
        await deliver(app, events[number])

    _, reply = (await state(conn, room_id, user_id))["messages"]
    assert (reply[1], reply[3], reply[4]) == ("failed", "model of attempt 2", 2)


async def test_three_at_once_and_one_later_make_one_end(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """E2: the end is stored once, and its unit given back once."""
    posted = await post(app, room_id, user_id)
    event = stopped(posted, room_id, user_id)

    await asyncio.gather(*(deliver(app, event) for _ in range(3)))
    after = await state(conn, room_id, user_id)
    await deliver(app, event)

    assert await state(conn, room_id, user_id) == after
    assert after["used"] == 0


@pytest.mark.parametrize("first", ["completed", "failed", "stopped"])
@pytest.mark.parametrize("late", ["completed", "failed", "stopped"])
async def test_the_first_end_of_a_reply_stands(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection, first: str, late: str
) -> None:
    posted = await post(app, room_id, user_id)

    def end(status: str, content: str) -> ReplyEvent:
        makers: dict[str, Any] = {"completed": ready, "failed": failed, "stopped": stopped}
        event: ReplyEvent = makers[status](posted, room_id, user_id, content)
        return event

    await deliver(app, end(first, "first"))
    after = await state(conn, room_id, user_id)
    await deliver(app, end(late, "late"))
    await deliver(app, started(posted, room_id, user_id, attempt=9))

    assert await state(conn, room_id, user_id) == after
    assert after["messages"][1][1:3] == (first, "first")

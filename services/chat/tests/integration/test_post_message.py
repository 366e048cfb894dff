import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from faststream.rabbit import RabbitQueue

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    Entitlements,
    MessagePosted,
    SubscriptionChanged,
    Usage,
)
from libs.common.testing import TokenIssuer, eventually
from libs.common.topology import EVENTS
from services.chat import actions
from services.chat.errors import DailyLimitReachedError
from services.chat.models import Posted

pytestmark = pytest.mark.integration


async def post(app: FastAPI, room_id: UUID, user_id: UUID, content: str = "hello") -> Posted:
    return await actions.post_message(
        app.state.resources,
        chatroom_id=room_id,
        user_id=user_id,
        content=content,
        idempotency_key=None,
    )


def ready(posted: Posted, room_id: UUID, user_id: UUID, content: str = "hi") -> AIReplyReady:
    return AIReplyReady(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=1,
        content=content,
        finish_reason="stop",
        model="test",
        usage=Usage(),
    )


def failed(posted: Posted, room_id: UUID, user_id: UUID, content: str = "") -> AIReplyFailed:
    return AIReplyFailed(
        user_id=user_id,
        chatroom_id=room_id,
        reply_id=posted.reply_id,
        attempt=1,
        content=content,
        code="model_unavailable",
        detail="later",
        retryable=True,
    )


async def status_of(conn: Connection, message_id: UUID) -> str:
    status: str = await conn.fetchval("SELECT status FROM message WHERE id = $1", message_id)
    return status


async def announced(conn: Connection) -> int:
    """Tell how many replies have had their turn, published or not."""
    count: int = await conn.fetchval("SELECT count(*) FROM message WHERE announced_at IS NOT NULL")
    return count


async def used(conn: Connection, user_id: UUID) -> int:
    units: int = await conn.fetchval("SELECT used FROM quota WHERE user_id = $1", user_id)
    return units


async def test_a_posted_message_is_stored_and_announced_as_the_contract_says(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    spy = app.state.resources.brokers.consume.subscriber(
        RabbitQueue("spy", routing_key=MessagePosted.TYPE, auto_delete=True), EVENTS
    )

    @spy
    async def put(body: dict[str, Any]) -> None:
        await bodies.put(body)

    await spy.start()

    response = await client.post(f"/chatroom/{room_id}/message", json={"content": "hé\t\n 🍵"})

    assert response.status_code == 202, response.text
    answer = response.json()
    async with asyncio.timeout(5):
        body = await bodies.get()
    event = MessagePosted.model_validate(body, extra="forbid")
    assert event == MessagePosted(
        event_id=event.event_id,
        occurred_at=event.occurred_at,
        user_id=user_id,
        chatroom_id=room_id,
        message_id=UUID(answer["message"]["id"]),
        reply_id=UUID(answer["reply"]["id"]),
        content="hé\t\n 🍵",
    )
    listed = (await client.get(f"/chatroom/{room_id}/message")).json()["data"]
    assert [(m["role"], m["status"]) for m in listed] == [
        ("assistant", "queued"),
        ("user", "completed"),
    ]


async def test_parallel_posts_get_exactly_the_allowance(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    rooms = [UUID((await client.post("/chatroom", json={})).json()["id"]) for _ in range(3)]

    outcomes = await asyncio.gather(
        *(post(app, rooms[i % 3], user_id) for i in range(40)), return_exceptions=True
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, DailyLimitReachedError)]
    assert (len(refused), len(outcomes) - len(refused)) == (35, 5)
    assert await conn.fetchval("SELECT count(*) FROM message WHERE role = 'user'") == 5


async def test_a_refusal_tells_when_and_how_to_go_on(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    for _ in range(5):
        await post(app, room_id, user_id)

    response = await client.post(f"/chatroom/{room_id}/message", json={"content": "one more"})

    problem = response.json()
    assert (response.status_code, problem["code"]) == (429, "daily_limit_reached")
    assert problem["limit"] == 5
    assert problem["upgrade_url"] == "/subscribe/pro"
    assert int(response.headers["retry-after"]) == problem["retry_after"] > 0


async def test_paying_lifts_the_limit_and_an_older_event_does_not_bring_it_back(
    app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    res = app.state.resources
    for _ in range(5):
        await post(app, room_id, user_id)

    def changed(version: int, limit: int | None) -> SubscriptionChanged:
        return SubscriptionChanged(
            user_id=user_id,
            version=version,
            plan="pro" if limit is None else "basic",
            status="active",
            entitlements=Entitlements(messages_per_day=limit),
        )

    await actions.apply_subscription(res, changed(2, None))
    await actions.apply_subscription(res, changed(1, 5))
    await post(app, room_id, user_id)

    await actions.apply_subscription(res, changed(3, 5))
    with pytest.raises(DailyLimitReachedError):
        await post(app, room_id, user_id)


async def test_a_new_day_starts_at_zero_and_a_clock_behind_does_not_reset_it(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    for _ in range(5):
        await post(app, room_id, user_id)
    await conn.execute("UPDATE quota SET day = day + 1")  # written by a server ahead of us
    with pytest.raises(DailyLimitReachedError):
        await post(app, room_id, user_id)

    await conn.execute("UPDATE quota SET day = day - 2")

    assert (await post(app, room_id, user_id)).used == 1


async def test_a_reply_delivered_twice_is_stored_once_and_a_later_end_changes_nothing(
    app: FastAPI, room_id: UUID, user_id: UUID, client: httpx2.AsyncClient
) -> None:
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    event = ready(posted, room_id, user_id)

    await asyncio.gather(*(actions.record_reply(res, event) for _ in range(3)))
    await actions.record_failure(res, failed(posted, room_id, user_id))
    await actions.record_start(
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
    res = app.state.resources
    first, second, third = [await post(app, room_id, user_id, text) for text in ("a", "b", "c")]
    assert await announced(conn) == 1

    await actions.record_reply(res, ready(first, room_id, user_id, "A"))
    assert await announced(conn) == 2
    await actions.record_failure(res, failed(second, room_id, user_id))

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
    await actions.record_reply(res, ready(foreign, other, user_id, "FOREIGN"))
    for text in ("a", "b"):
        posted = await post(app, room_id, user_id, text)
        await actions.record_reply(res, ready(posted, room_id, user_id, text.upper()))
    lost = await post(app, room_id, user_id, "lost")
    await actions.record_failure(res, failed(lost, room_id, user_id))

    async with conn.transaction():  # keeps the relay away from what we read
        await conn.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")
        await conn.execute("UPDATE chatroom SET open_reply_id = NULL WHERE id = $1", room_id)
        await conn.execute(
            "UPDATE message SET status = 'queued', content = '' WHERE id = $1", lost.reply_id
        )
        await conn.execute("SELECT announce_next_reply($1, $2, now(), NULL)", room_id, new_id())
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

    await actions.record_failure(res, event)
    await actions.record_failure(res, event)
    await actions.record_failure(res, event.model_copy(update={"event_id": new_id()}))

    assert await used(conn, user_id) == left


async def test_the_same_key_posts_once_and_another_body_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    async def send(content: str) -> httpx2.Response:
        return await client.post(
            f"/chatroom/{room_id}/message",
            json={"content": content},
            headers={"Idempotency-Key": "k1"},
        )

    answers = await asyncio.gather(*(send("hello") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["message"]["id"] for answer in answers}) == 1
    assert len({answer.json()["reply"]["id"] for answer in answers}) == 1
    assert await used(conn, user_id) == 1
    reused = await send("other")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_ids_in_a_room_grow_even_behind_a_server_whose_clock_is_ahead(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    ahead = UUID(int=new_id().int + (5000 << 80))
    await conn.execute("UPDATE chatroom SET last_message_id = $1", ahead)

    posted = await post(app, room_id, user_id)

    assert ahead < posted.message_id < posted.reply_id


async def test_a_reply_that_nobody_ends_fails_after_the_deadline(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    assert await actions.fail_overdue_replies(res) == 0

    await conn.execute(
        "UPDATE message SET announced_at = $1 WHERE id = $2",
        utc_now() - timedelta(seconds=res.settings.reply_deadline_s + 1),
        posted.reply_id,
    )
    assert await actions.fail_overdue_replies(res) == 1

    assert await status_of(conn, posted.reply_id) == "failed"
    assert await used(conn, user_id) == 0


async def test_a_stranger_finds_nothing(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID, issuer: TokenIssuer
) -> None:
    posted = await post(app, room_id, user_id)
    stranger = issuer.authorization(new_id())

    answers = [
        await client.post(f"/chatroom/{room_id}/message", json={"content": "hi"}, headers=stranger),
        await client.get(f"/chatroom/{room_id}/message", headers=stranger),
        await client.get(f"/chatroom/{room_id}/message/{posted.message_id}", headers=stranger),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (await client.get("/chatroom", headers=stranger)).json()["data"] == []


async def test_an_event_outlives_a_relay_that_was_never_nudged(
    app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await conn.execute(
        "INSERT INTO outbox (event_id, type, payload) VALUES ($1, $2, '{}')",
        new_id(),
        SubscriptionChanged.TYPE,
    )

    async def published() -> bool:
        return not await conn.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    assert await eventually(published)

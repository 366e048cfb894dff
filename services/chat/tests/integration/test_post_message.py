import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from faststream.rabbit import RabbitQueue

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Entitlements, MessagePosted, SubscriptionChanged
from libs.common.testing import TokenIssuer, eventually
from libs.common.topology import EVENTS
from services.chat.actions import entitlements
from services.chat.errors import DailyLimitReachedError
from services.chat.tests.integration.posting import post, used

pytestmark = pytest.mark.integration


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
    await app.state.resources.db.execute("UPDATE chatroom SET title_source = 'user'")

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
    """E6: a stale event under a new id revives nothing."""
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

    await entitlements.apply_subscription(res, changed(2, None))
    await entitlements.apply_subscription(res, changed(1, 5))
    await post(app, room_id, user_id)

    await entitlements.apply_subscription(res, changed(3, 5))
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

    await post(app, room_id, user_id)
    assert await used(conn, user_id) == 1


async def test_the_same_key_posts_once_and_another_body_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """R6: ten at once make one message, one reply and take one unit."""

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

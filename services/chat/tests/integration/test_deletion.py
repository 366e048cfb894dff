"""A user's end, as chat sees it."""

import asyncio
from uuid import UUID

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Entitlements, SubscriptionChanged, UserDeleted
from services.chat.actions import completions, deletion, entitlements, replies
from services.chat.tests.integration.posting import post, ready

pytestmark = pytest.mark.integration
TABLES = ("chatroom", "message", "quota", "entitlement", "outbox")
NOTHING = dict.fromkeys(TABLES, 0)


async def rows(conn: Connection, user_id: UUID) -> dict[str, int]:
    """Return how many rows name the user; other tests' events may bring others."""
    count = "SELECT count(*) FROM {} t WHERE position($1::text IN t::text) > 0"
    return {name: await conn.fetchval(count.format(name), str(user_id)) for name in TABLES}


def pro(user_id: UUID) -> SubscriptionChanged:
    return SubscriptionChanged(
        user_id=user_id,
        version=1,
        plan="pro",
        status="active",
        entitlements=Entitlements(messages_per_day=None),
    )


async def test_everything_of_the_user_goes_and_nothing_of_others(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    conn: Connection,
    redis: Redis,
    room_id: UUID,
    user_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P3: rooms, hidden ones too, messages, allowances, what waits in the outbox, the cache."""
    res, stranger = app.state.resources, new_id()
    monkeypatch.setattr(deletion, "ROOMS", 1)
    monkeypatch.setattr(deletion, "MESSAGES", 2)
    for who in (user_id, stranger):
        await entitlements.apply_subscription(res, pro(who))
        await completions.complete(res, user_id=who, messages=[("user", "a hidden question")])
    theirs = await rows(conn, stranger)
    for _ in range(3):
        posted = await post(app, room_id, user_id)
        await replies.record_reply(res, ready(posted, room_id, user_id))
    await client.get("/chatroom")

    for _ in range(2):
        await deletion.forget_user(res, UserDeleted(user_id=user_id))

    assert await rows(conn, user_id) == NOTHING
    assert await rows(conn, stranger) == theirs
    assert min(theirs.values()) > 0
    assert str(user_id) not in str(await redis.keys("*"))


async def test_what_comes_late_brings_nothing_back(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    conn: Connection,
    room_id: UUID,
    user_id: UUID,
) -> None:
    """P3, E3: a reply that ends, a plan and a token that outlive their user."""
    res = app.state.resources
    posted = await post(app, room_id, user_id)
    await deletion.forget_user(res, UserDeleted(user_id=user_id))

    await replies.record_reply(res, ready(posted, room_id, user_id))
    await entitlements.apply_subscription(res, pro(user_id))
    question = {"messages": [{"role": "user", "content": "hi"}]}
    answers = [
        await client.post("/chatroom", json={}),
        await client.post("/chatroom", json={}, headers={"Idempotency-Key": "k"}),
        await client.post("/completion", json=question),
    ]
    posting = await client.post(f"/chatroom/{room_id}/message", json={"content": "hi"})

    assert [answer.status_code for answer in answers] == [401] * 3, [a.text for a in answers]
    assert {answer.json()["code"] for answer in answers} == {"account_deleted"}
    assert posting.status_code == 404
    assert await rows(conn, user_id) == NOTHING


async def test_a_room_that_was_being_made_goes_too(
    app: FastAPI, conn: Connection, database_urls: dict[str, str], user_id: UUID
) -> None:
    """P3: its transaction began before the deletion and ends after it."""
    late = await asyncpg.connect(database_urls["chat"])
    making = late.transaction()
    await making.start()
    await late.execute(
        "INSERT INTO chatroom (id, user_id, title, created_at, active_at)"
        " VALUES ($1, $2, 'Tea', now(), now())",
        new_id(),
        user_id,
    )

    deleting = asyncio.create_task(
        deletion.forget_user(app.state.resources, UserDeleted(user_id=user_id))
    )
    await asyncio.sleep(0.2)
    await making.commit()
    await late.close()
    await deleting

    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 0


async def test_posts_that_race_the_deletion_leave_nothing(
    kept_outbox: None, app: FastAPI, conn: Connection, room_id: UUID, user_id: UUID
) -> None:
    """P3: neither a message nor a unit of quota."""
    res = app.state.resources
    posts = [asyncio.create_task(post(app, room_id, user_id, f"m{n}")) for n in range(5)]
    deletions = [
        asyncio.create_task(deletion.forget_user(res, UserDeleted(user_id=user_id)))
        for _ in range(2)
    ]

    await asyncio.gather(*posts, return_exceptions=True)
    await asyncio.gather(*deletions)

    assert await rows(conn, user_id) == NOTHING

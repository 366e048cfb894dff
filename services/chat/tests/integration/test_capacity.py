"""Where prompts wait too long, Basic is refused before Pro, and nothing is stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common import topology
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import MessagePosted, PriorityMessagePosted
from libs.common.testing import TokenIssuer, eventually
from services.chat import app as chat_app
from services.chat.backlog import Backlog
from services.chat.resources import Resources
from services.chat.tests.integration.posting import allow_everything, waiting

pytestmark = pytest.mark.integration
BASIC, PRO = 3, 5


@pytest.fixture
def backlogs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(chat_app, "BACKLOG_INTERVAL_S", 0.05)
    return {"basic_backlog": BASIC, "pro_backlog": PRO}


@pytest.fixture
async def res(app: FastAPI) -> AsyncIterator[Resources]:
    """Nothing waits at the begin, and at the end."""
    resources: Resources = app.state.resources
    await purge(resources)
    await reaches(resources, long=False)
    yield resources
    await purge(resources)


async def purge(res: Resources) -> None:
    for event in (MessagePosted, PriorityMessagePosted):
        declared = await res.brokers.publish.declare_queue(topology.queue("ai", event))
        await declared.purge()


async def reaches(res: Resources, *, long: bool, plan: str = "basic") -> None:
    """Wait until chat has noticed that there is a backlog for the plan, or none."""

    async def has_noticed() -> bool:
        return res.backlog.is_long_for(plan) is long

    await eventually(has_noticed)


async def post(client: httpx2.AsyncClient, headers: dict[str, str] | None = None) -> Any:
    """Post in a new room."""
    room = (await client.post("/chatroom", json={}, headers=headers)).json()["id"]
    return await client.post(f"/chatroom/{room}/message", json={"content": "hi"}, headers=headers)


async def fill(app: FastAPI, issuer: TokenIssuer, *, count: int, pro: bool) -> None:
    """Let that many users post, whom nobody answers."""
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat") as client:
        for _ in range(count):
            user_id = new_id()
            if pro:
                await allow_everything(app, user_id)
            answer = await post(client, issuer.authorization(user_id))
            assert answer.status_code == 202, answer.text


@asynccontextmanager
async def no_rooms(conn: Connection) -> AsyncIterator[None]:
    """Let no room be made, not even for a moment, while the block runs."""
    await conn.execute("ALTER TABLE chatroom ADD CONSTRAINT none CHECK (false) NOT VALID")
    try:
        yield
    finally:
        await conn.execute("ALTER TABLE chatroom DROP CONSTRAINT none")


async def test_basic_is_refused_and_pro_is_not_until_the_backlog_is_gone(
    res: Resources, app: FastAPI, client: httpx2.AsyncClient, issuer: TokenIssuer, conn: Connection
) -> None:
    await fill(app, issuer, count=BASIC + 1, pro=False)
    await reaches(res, long=True)
    stored = await conn.fetchval("SELECT count(*) FROM message")

    refused = await post(client)
    conversation = {"messages": [{"role": "user", "content": "hi"}]}
    async with no_rooms(conn):
        completion = await client.post("/completion", json=conversation)
    assert await conn.fetchval("SELECT count(*) FROM message") == stored
    assert await conn.fetchval("SELECT count(*) FROM quota") == BASIC + 1
    await fill(app, issuer, count=1, pro=True)

    problem = refused.json()
    assert (refused.status_code, completion.status_code) == (503, 503)
    assert problem["type"].endswith("/http-problem-types#temporary-reduced-capacity")
    assert problem["code"] == "reduced_capacity"
    assert refused.headers["retry-after"] == str(problem["retry_after"]) == "10"

    await purge(res)
    await reaches(res, long=False)
    assert (await post(client)).status_code == 202


async def test_past_a_higher_bound_of_its_own_queue_pro_is_refused_too(
    res: Resources, app: FastAPI, client: httpx2.AsyncClient, issuer: TokenIssuer, user_id: UUID
) -> None:
    await allow_everything(app, user_id)
    await fill(app, issuer, count=PRO + 1, pro=True)
    await reaches(res, long=True, plan="pro")

    assert (await post(client)).status_code == 503
    assert (await post(client, issuer.authorization(new_id()))).status_code == 503

    await purge(res)
    await reaches(res, long=False, plan="pro")
    assert (await post(client)).status_code == 202


async def test_a_prompt_goes_to_the_queue_of_its_authors_plan(
    kept_outbox: None,
    app: FastAPI,
    client: httpx2.AsyncClient,
    issuer: TokenIssuer,
    user_id: UUID,
    conn: Connection,
) -> None:
    await post(client, issuer.authorization(new_id()))
    await allow_everything(app, user_id)
    await post(client)

    types = await conn.fetch("SELECT type FROM outbox WHERE type LIKE '%message_posted%'")
    assert [row["type"] for row in types] == [MessagePosted.TYPE, PriorityMessagePosted.TYPE]
    assert [event.plan for event in await waiting(conn, MessagePosted)] == ["basic", "pro"]


async def test_while_rabbitmq_is_away_nobody_is_refused(res: Resources) -> None:
    backlog = Backlog(res.brokers.publish, most_basic=1, most_priority=1)
    for _ in range(3):
        event = MessagePosted(
            user_id=new_id(),
            chatroom_id=new_id(),
            message_id=new_id(),
            reply_id=new_id(),
            content="hi",
        )
        await res.brokers.publish.publish(event, exchange=topology.EVENTS, routing_key=event.TYPE)

    async def is_long() -> bool:
        await backlog.measure()
        return backlog.is_long

    assert await eventually(is_long)
    await res.brokers.publish.stop()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, it is away
        await backlog.measure()

    assert not backlog.is_long
    await res.brokers.publish.start()


@pytest.mark.parametrize("basic", [0, 1, 10**6])
async def test_without_bounds_nobody_is_refused(basic: int) -> None:
    backlog = Backlog(None, most_basic=0, most_priority=0)  # type: ignore[arg-type]
    backlog._basic = backlog._priority = basic

    assert not backlog.is_long_for("basic")
    assert not backlog.is_long_for("pro")

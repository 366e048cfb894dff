"""Quotas as clients meet them: in parallel, in headers, in refusals and at `GET /quota`."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.errors import LimitReachedError
from libs.common.events import Entitlements, SubscriptionChanged, Usage
from services.chat.actions import entitlements, replies
from services.chat.models import Posted
from services.chat.tests.integration.posting import failed, post, ready, stopped

pytestmark = pytest.mark.integration


async def grant(app: FastAPI, user_id: UUID, *, version: int = 1, **granted: Any) -> None:
    """Let billing have announced what the user may do; no limit is None."""
    event = SubscriptionChanged(
        user_id=user_id,
        version=version,
        plan="pro",
        status="active",
        entitlements=Entitlements.model_validate({"messages_per_day": None} | granted),
    )
    await entitlements.apply_subscription(app.state.resources, event)


async def rooms_of(client: httpx2.AsyncClient, count: int) -> list[UUID]:
    made = [await client.post("/chatroom", json={"title": "Tea"}) for _ in range(count)]
    return [UUID(each.json()["id"]) for each in made]


async def in_parallel(app: FastAPI, rooms: list[UUID], user_id: UUID, count: int) -> Counter[str]:
    """Post so often at once, in turn into the rooms; return how often which code came back."""
    outcomes = await asyncio.gather(
        *(post(app, rooms[i % len(rooms)], user_id) for i in range(count)), return_exceptions=True
    )
    assert all(isinstance(each, Posted | LimitReachedError) for each in outcomes), outcomes
    return Counter(
        each.code if isinstance(each, LimitReachedError) else "accepted" for each in outcomes
    )


async def left(client: httpx2.AsyncClient) -> dict[str, tuple[int | None, int, int | None]]:
    """Return limit, use and rest by policy, as `GET /quota` tells them."""
    answer = await client.get("/quota")
    assert answer.status_code == 200, answer.text
    return {
        each["policy"]: (each["limit"], each["used"], each["remaining"])
        for each in answer.json()["data"]
    }


@pytest.mark.parametrize(
    ("granted", "code", "accepted"),
    [
        ({"messages_per_day": 7}, "daily_limit_reached", 7),
        ({"messages_per_month": 6}, "monthly_limit_reached", 6),
        # A message of 5 characters takes 2 tokens and its reply 4096; 4 of them fit.
        ({"tokens_per_day": 4 * 4098 + 4097}, "token_limit_reached", 4),
        ({"tokens_per_month": 4 * 4098}, "token_limit_reached", 4),
        ({"concurrent_replies": 3}, "too_many_replies", 3),
    ],
)
async def test_parallel_posts_get_exactly_what_is_left(
    app: FastAPI,
    client: httpx2.AsyncClient,
    user_id: UUID,
    granted: dict[str, int],
    code: str,
    accepted: int,
) -> None:
    """C5, R3: whatever it is that is limited; into a room each, so that no room makes them wait."""
    await grant(app, user_id, **granted)
    rooms = await rooms_of(client, 20)

    outcomes = await in_parallel(app, rooms, user_id, 40)

    assert outcomes == {"accepted": accepted, code: 40 - accepted}


async def test_a_reply_that_ends_however_makes_room_for_another(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    await grant(app, user_id, concurrent_replies=3)
    res = app.state.resources
    first, second, third, fourth = await rooms_of(client, 4)
    posts = [await post(app, room, user_id) for room in (first, second, third)]
    assert await in_parallel(app, [fourth], user_id, 3) == {"too_many_replies": 3}

    await replies.record_reply(res, ready(posts[0], first, user_id))
    await replies.record_stop(res, stopped(posts[1], second, user_id))
    await client.delete(f"/chatroom/{third}")

    assert (await left(client))["concurrent"] == (3, 0, 3)
    outcomes = await in_parallel(app, [first, second, fourth], user_id, 6)
    assert outcomes == {"accepted": 3, "too_many_replies": 3}
    await conn.execute(
        "UPDATE message SET announced_at = now() - interval '1 day' WHERE status = 'queued'"
    )
    await replies.fail_overdue_replies(res)  # nobody ever tells how they ended
    assert (await left(client))["concurrent"] == (3, 0, 3)


async def test_tokens_are_held_back_at_the_post_and_settled_at_the_end(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID
) -> None:
    await grant(app, user_id, tokens_per_day=10_000, tokens_per_month=90_000)
    res = app.state.resources
    first, second = await rooms_of(client, 2)
    posts = [await post(app, first, user_id), await post(app, second, user_id)]
    held = 2 * (4096 + 2)
    assert (await left(client))["tokens"] == (10_000, held, 10_000 - held)

    end = ready(posts[0], first, user_id).model_copy(update={"usage": Usage(total=700)})
    for _ in range(2):
        await replies.record_reply(res, end)
    await replies.record_failure(res, failed(posts[1], second, user_id))

    now = await left(client)
    assert now["tokens"] == (10_000, 700, 9300)
    assert now["tokens-month"] == (90_000, 700, 89_300)
    assert (now["messages"][1], now["messages-month"][1]) == (1, 1)


async def test_who_deletes_the_room_in_time_saves_no_tokens(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await grant(app, user_id, tokens_per_day=10_000)
    posted = await post(app, room_id, user_id)
    await client.delete(f"/chatroom/{room_id}")
    end = stopped(posted, room_id, user_id, "half a rep")

    for _ in range(2):
        await replies.record_stop(
            app.state.resources, end.model_copy(update={"usage": Usage(total=300)})
        )

    assert (await left(client))["tokens"] == (10_000, 300, 9700)


async def test_a_long_room_holds_back_more_and_never_more_than_a_prompt_can_be(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    await grant(app, user_id, tokens_per_day=1_000_000)
    res = app.state.resources
    held = []
    for length in (400, 8000, 8000, 8000):
        posted = await post(app, room_id, user_id, "x" * length)
        held.append((posted.tokens or 0) - 4096)
        await replies.record_reply(res, ready(posted, room_id, user_id, "y" * 20_000))

    assert held == [100, (400 + 20_000 + 8000) / 4, 12_000, 12_000]


async def test_every_post_tells_what_is_left(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    await grant(app, user_id, messages_per_day=2, messages_per_month=9, concurrent_replies=2)
    path, body = f"/chatroom/{room_id}/message", {"content": "hello"}

    answers = [await client.post(path, json=body) for _ in range(3)]

    assert [each.status_code for each in answers] == [202, 202, 429]
    for answer, used in zip(answers, (1, 2, 2), strict=True):
        policies = answer.headers["ratelimit-policy"].split(", ")
        assert policies[0] == '"messages";q=2;w=86400;qu="messages"'
        assert policies[1].startswith('"messages-month";q=9;w=')
        assert policies[2] == '"concurrent";q=2;qu="concurrent-requests"'
        states = answer.headers["ratelimit"].split(", ")
        assert states[0].startswith(f'"messages";r={2 - used};t=')
        assert states[1].startswith(f'"messages-month";r={9 - used};t=')
        assert states[2] == f'"concurrent";r={2 - used}'
    problem = answers[2].json()
    assert problem["violated-policies"] == ["messages", "concurrent"]
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (await client.get("/quota")).headers["ratelimit"].startswith('"messages";r=0;t=')


async def test_refused_and_invalid_posts_cost_nothing_and_leave_nothing(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    """C5: neither a refusal nor what cannot be read is charged."""
    await grant(app, user_id, messages_per_day=1, concurrent_replies=1)
    path = f"/chatroom/{room_id}/message"
    invalid = [
        await client.post(path, json={"content": ""}),
        await client.post(path, json={"content": "x", "more": 1}),
        await client.post(path, json={"content": "x", "model": "unknown"}),
        await client.post(f"/chatroom/{new_id()}/message", json={"content": "x"}),
    ]
    assert [each.status_code for each in invalid] == [422, 422, 403, 404]
    assert (await left(client))["messages"] == (1, 0, 1)

    answers = [await client.post(path, json={"content": "x"}) for _ in range(4)]

    assert [each.status_code for each in answers] == [202, 429, 429, 429]
    assert (await left(client))["messages"] == (1, 1, 0)
    assert await conn.fetchval("SELECT count(*) FROM message") == 2


async def test_a_grant_that_grows_or_shrinks_counts_from_the_next_post_on(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, user_id: UUID
) -> None:
    for version, tokens in ((1, 5000), (2, 20_000), (3, 1)):
        await grant(app, user_id, version=version, tokens_per_month=tokens)
        outcomes = await in_parallel(app, [room_id], user_id, 5)
        assert outcomes["accepted"] == {5000: 1, 20_000: 1, 1: 0}[tokens]
        assert (await left(client))["tokens-month"][0] == tokens

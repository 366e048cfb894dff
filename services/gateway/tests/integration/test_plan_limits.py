"""Rates by plan, and what answers say of them."""

from typing import Any
from uuid import UUID

import httpx2
import pytest
from redis.asyncio import Redis

from libs.common.broker import make_brokers
from libs.common.clock import new_id
from libs.common.events import Entitlements, Plan, SubscriptionChanged, UserDeleted
from libs.common.topology import EVENTS
from services.gateway.store import AdmissionStore, granted_key
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually

pytestmark = pytest.mark.integration
LIMITS: dict[str, Any] = {"user_requests_per_minute": 60, "user_burst": 2}
STATUS = "GET /subscription/status"


def changed(user_id: UUID, version: int, plan: Plan, **rates: Any) -> SubscriptionChanged:
    return SubscriptionChanged(
        user_id=user_id,
        version=version,
        plan=plan,
        status="active",
        entitlements=Entitlements(messages_per_day=None, **rates),
    )


async def publish(rabbitmq_url: str, *events: SubscriptionChanged | UserDeleted) -> None:
    brokers = make_brokers(rabbitmq_url, service="tests", prefetch=1)
    async with brokers.running():
        for event in events:
            await brokers.publish.publish(
                event,
                exchange=EVENTS,
                routing_key=event.TYPE,
                message_id=str(event.event_id),
                message_type=event.TYPE,
                persist=True,
            )


async def burst(client: httpx2.AsyncClient, headers: dict[str, str], count: int) -> list[int]:
    return [(await client.get("/user/me", headers=headers)).status_code for _ in range(count)]


async def granted(redis: Redis, user_id: UUID) -> str:
    value: Any = await redis.get(granted_key(user_id))
    return (value or b"").decode()


async def test_an_upgrade_counts_with_the_next_request_and_a_stale_event_does_not(
    start_gateway: Start, fakes: FakeServices, rabbitmq_url: str, redis: Redis
) -> None:
    """Also for who has just used up the smaller burst, and would owe it for a while."""
    user_id = new_id()
    headers = {"Authorization": f"Bearer {fakes.token(user_id)}"}
    options = {"user_requests_per_minute": 1, "user_burst": 2, "rabbitmq_url": rabbitmq_url}
    async with start_gateway(**options) as client:
        assert await burst(client, headers, 3) == [200, 200, 429]

        another = new_id()
        for event in (
            changed(user_id, 2, "pro", requests_per_minute=6000, burst=50),
            changed(user_id, 1, "basic", requests_per_minute=1, burst=1),
            changed(another, 1, "basic"),
        ):
            await publish(rabbitmq_url, event)

        async def all_arrived() -> bool:
            return bool(await granted(redis, another))

        await eventually(all_arrived)
        answer = await client.get("/user/me", headers=headers)

    assert await granted(redis, user_id) == "2 6000 50 pro"
    assert answer.status_code == 200

    assert answer.headers["ratelimit-policy"] == '"user";q=6000;w=60'
    assert answer.headers["ratelimit"].startswith('"user";r=49;')


async def test_a_plan_that_says_nothing_of_rates_has_the_settings(redis: Redis) -> None:
    store, user_id = AdmissionStore(redis), new_id()
    await store.grant(user_id, version=1, plan="basic", per_minute=None, burst=7)

    verdict = await store.admit(str(user_id), session_id=new_id(), per_minute=30, burst=3)

    assert (verdict.per_minute, verdict.burst, verdict.plan) == (30, 7, "basic")
    assert verdict.remaining == 6
    assert 0 < await redis.ttl(granted_key(user_id)) <= 24 * 3600


async def test_what_redis_lost_is_asked_of_billing_once_and_the_defaults_count_meanwhile(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    user_id = new_id()
    token = fakes.token(user_id)
    headers = {"Authorization": f"Bearer {token}"}
    rates = {"requests_per_minute": 6000, "burst": 9}
    fakes.planned[STATUS] = (200, {"plan": "pro", "entitlements": rates})
    async with start_gateway(**LIMITS) as client:
        for _ in range(2):
            await redis.flushall()
            first = await client.get("/user/me", headers=headers)
            assert first.headers["ratelimit-policy"] == '"user";q=60;w=60'

            async def is_granted() -> bool:
                return await granted(redis, user_id) == "0 6000 9 pro"

            await eventually(is_granted)
            second = await client.get("/user/me", headers=headers)
            assert second.headers["ratelimit-policy"] == '"user";q=6000;w=60'
            assert await burst(client, headers, 3) == [200] * 3

    asked = [scope for scope in fakes.seen if scope["path"] == "/subscription/status"]
    assert [dict(scope["headers"])[b"authorization"] for scope in asked] == [
        f"Bearer {token}".encode()
    ] * 2


async def test_billing_away_is_asked_again_later_and_nobody_is_locked_out(
    start_gateway: Start, fakes: FakeServices
) -> None:
    fakes.planned[STATUS] = (503, {"code": "unavailable"})
    headers = [{"Authorization": f"Bearer {fakes.token(new_id())}"} for _ in range(5)]
    async with start_gateway(**LIMITS) as client:
        assert await burst(client, headers[0], 1) == [200]

        async def was_asked() -> int:
            return sum(scope["path"] == "/subscription/status" for scope in fakes.seen)

        await eventually(was_asked)
        statuses = [await burst(client, each, 3) for each in headers[1:]]
        assert await was_asked() == 1

    assert statuses == [[200, 200, 429]] * 4


async def test_of_a_deleted_user_nothing_is_kept(
    start_gateway: Start, rabbitmq_url: str, redis: Redis
) -> None:
    user_id = new_id()
    plan = changed(user_id, 1, "pro", requests_per_minute=600)
    async with start_gateway(rabbitmq_url=rabbitmq_url):
        await publish(rabbitmq_url, plan)

        async def is_granted() -> bool:
            return bool(await granted(redis, user_id))

        await eventually(is_granted)
        await publish(rabbitmq_url, UserDeleted(user_id=user_id))

        async def is_gone() -> bool:
            return not await is_granted()

        await eventually(is_gone)
        late = changed(user_id, 2, "pro", requests_per_minute=600)
        await AdmissionStore(redis).grant(
            user_id, version=late.version, plan=late.plan, per_minute=600, burst=None
        )

    assert not await is_granted()


@pytest.mark.parametrize(
    ("plan", "guest", "upgrade_url"),
    [("basic", False, "/subscribe/pro"), ("pro", False, None), ("basic", True, "/auth/upgrade")],
)
async def test_a_refusal_says_which_limit_when_to_come_back_and_where_to_get_more(
    start_gateway: Start,
    fakes: FakeServices,
    redis: Redis,
    plan: str,
    guest: bool,
    upgrade_url: str | None,
) -> None:
    user_id = new_id()
    await AdmissionStore(redis).grant(user_id, version=1, plan=plan, per_minute=None, burst=None)
    headers = {"Authorization": f"Bearer {fakes.token(user_id, guest=guest)}"}
    async with start_gateway(user_requests_per_minute=6, user_burst=1) as client:
        await client.get("/chatroom", headers=headers)
        refused = await client.get("/chatroom", headers=headers)

    problem = refused.json()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["user"]
    assert (problem["code"], problem["policy"]) == ("rate_limited", "user")
    assert str(problem["retry_after"]) == refused.headers["retry-after"]
    assert refused.headers["ratelimit"] == f'"user";r=0;t={problem["retry_after"]}'
    assert problem.get("upgrade_url") == upgrade_url


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chatroom", 200),
        ("GET", "/nothing", 404),  # counts for the address
        ("PUT", "/openai/v1/models", 405),
        ("POST", "/chatroom", 415),
        ("GET", "/event?after=x&wait=0", 200),
        ("GET", "/chatroom/x/stream", 404),
    ],
)
async def test_every_answer_to_a_caller_tells_of_the_limit(
    start_gateway: Start, fakes: FakeServices, method: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {fakes.token(new_id())}", "Accept": "application/json"}
    content = b"x" if method == "POST" else None
    async with start_gateway(**LIMITS) as client:
        answer = await client.request(method, path, headers=headers, content=content)

    assert answer.status_code == status, answer.text
    assert answer.headers.get_list("ratelimit-policy") in (
        ['"user";q=60;w=60'],
        ['"anonymous";q=120;w=60'],
    )
    assert len(answer.headers.get_list("ratelimit")) == 1


async def test_the_limits_of_a_service_stand_beside_ours(
    start_gateway: Start, fakes: FakeServices
) -> None:
    fakes.headers = [
        (b"ratelimit-policy", b'"messages";q=20;w=86400'),
        (b"ratelimit", b'"messages";r=3;t=100'),
    ]
    headers = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    room = f"/chatroom/{new_id()}/message"
    async with start_gateway(**LIMITS) as client:
        plain = await client.post(room, headers=headers, json={"content": "hi"})
        waiting = await client.post(
            room, headers={**headers, "Prefer": "wait=1"}, json={"content": "hi"}
        )

    for answer in (plain, waiting):
        assert answer.headers.get_list("ratelimit-policy") == [
            '"user";q=60;w=60, "messages";q=20;w=86400'
        ]
        (state,) = answer.headers.get_list("ratelimit")
        assert state.startswith('"user";r=')
        assert state.endswith(', "messages";r=3;t=100')


async def test_openais_clients_are_told_by_the_names_that_they_know(
    start_gateway: Start, fakes: FakeServices
) -> None:
    headers = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    fakes.planned["GET /model"] = (200, {"data": []})
    async with start_gateway(user_requests_per_minute=6, user_burst=1) as client:
        elsewhere = await client.get("/model", headers=headers)
        refused = await client.get("/openai/v1/models", headers=headers)
    async with start_gateway(**LIMITS) as client:
        headers = {"Authorization": f"Bearer {fakes.token(new_id())}"}
        answer = await client.get("/openai/v1/models", headers=headers)

    assert not [name for name in elsewhere.headers if name.startswith("x-ratelimit")]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"] == f"{refused.headers['retry-after']}s"
    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    assert answer.headers["ratelimit-policy"] == '"user";q=60;w=60'

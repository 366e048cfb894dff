import asyncio

from redis.asyncio import Redis

from libs.common.clock import new_id
from services.gateway.store import AdmissionStore
from services.gateway.tests.integration.conftest import FakeServices, Start
from tests.ports import free_port


async def test_a_burst_passes_the_next_is_refused_and_time_gives_one_back(redis: Redis) -> None:
    admission = AdmissionStore(redis)

    async def admit() -> tuple[bool, int, int]:
        verdict = await admission.admit("s", session_id=None, per_minute=300, burst=3)
        return verdict.allowed, verdict.remaining, verdict.wait_us

    burst = [await admit() for _ in range(3)]
    refused = await admit()
    await asyncio.sleep(refused[2] / 1e6)
    later = await admit()

    assert [allowed for allowed, _, _ in burst] == [True] * 3
    assert [remaining for _, remaining, _ in burst] == [2, 1, 0]
    assert refused[0] is False
    assert 0 < refused[2] <= 200_000
    assert later[0] is True
    assert 0 < await redis.pttl("rate:s") <= 600


async def test_parallel_requests_never_get_more_than_the_burst(redis: Redis) -> None:
    admission = AdmissionStore(redis)

    verdicts = await asyncio.gather(
        *(admission.admit("s", session_id=None, per_minute=1, burst=10) for _ in range(50))
    )

    assert sum(verdict.allowed for verdict in verdicts) == 10


async def test_a_user_over_the_limit_is_told_when_to_come_back_and_others_are_not_affected(
    start_gateway: Start, fakes: FakeServices
) -> None:
    mine = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    other = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    async with start_gateway(user_requests_per_minute=6, user_burst=2) as client:
        answers = [await client.get("/user/me", headers=mine) for _ in range(3)]
        others = await client.get("/user/me", headers=other)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"user";q=6;w=60'
    assert answers[0].headers["ratelimit"] == '"user";r=1;t=10'
    assert answers[2].json()["code"] == "rate_limited"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 10
    assert others.status_code == 200


async def test_callers_without_a_login_are_limited_by_their_own_address(
    start_gateway: Start,
) -> None:
    options = {
        "anonymous_requests_per_minute": 1,
        "anonymous_burst": 1,
        "trusted_proxies": "127.0.0.0/8",
    }
    async with start_gateway(**options) as client:
        statuses = [
            (await client.get("/auth/x", headers={"X-Forwarded-For": address})).status_code
            for address in ("1.1.1.1", "1.1.1.1", "6.6.6.6, 1.1.1.1", "2.2.2.2")
        ]

    assert statuses == [200, 429, 429, 200]


async def test_guessing_tokens_is_limited(start_gateway: Start) -> None:
    async with start_gateway(anonymous_requests_per_minute=1, anonymous_burst=2) as client:
        statuses = [
            (await client.get("/user/me", headers={"Authorization": f"Bearer x{n}"})).status_code
            for n in range(3)
        ]

    assert statuses == [401, 401, 429]


async def test_a_revoked_session_is_refused_though_its_token_is_valid(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    session_id = new_id()
    headers = {"Authorization": f"Bearer {fakes.token(new_id(), session_id)}"}
    async with start_gateway(user_requests_per_minute=0) as client:
        before = await client.get("/user/me", headers=headers)
        await redis.set(f"revoked:{session_id}", 1, ex=60)
        after = await client.get("/user/me", headers=headers)

    assert (before.status_code, after.status_code) == (200, 401)
    assert after.json()["code"] == "session_revoked"


async def test_without_redis_requests_pass(start_gateway: Start, fakes: FakeServices) -> None:
    headers = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    gone = f"redis://127.0.0.1:{free_port()}/0"
    async with start_gateway(redis_url=gone, user_burst=1) as client:
        statuses = [(await client.get("/user/me", headers=headers)).status_code for _ in range(3)]

    assert statuses == [200] * 3


async def test_a_redis_that_hangs_delays_requests_but_does_not_stop_them(
    start_gateway: Start, fakes: FakeServices
) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(hang, "127.0.0.1", port)
    headers = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    hanging = f"redis://127.0.0.1:{port}/0"
    async with server, start_gateway(redis_url=hanging) as client, asyncio.timeout(3):
        answer = await client.get("/user/me", headers=headers)

    assert answer.status_code == 200


async def test_a_crowd_of_requests_at_once_is_limited_like_any_other(
    start_gateway: Start, fakes: FakeServices
) -> None:
    token = fakes.token(new_id())
    lines = ("GET /user/me HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", "", "")
    request = "\r\n".join(lines).encode()
    async with start_gateway(user_requests_per_minute=1, user_burst=10) as client:
        host, port = client.base_url.host, client.base_url.port
        await client.get("/user/me", headers={"Authorization": f"Bearer {token}"})  # has the keys
        streams = [await asyncio.open_connection(host, port) for _ in range(400)]
        for _, writer in streams:
            writer.write(request)
        heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in streams]
        for _, writer in streams:
            writer.transport.abort()

    statuses = [head[9:12] for head in heads]
    assert (statuses.count(b"200"), statuses.count(b"429")) == (9, 391)


async def test_paths_that_nobody_knows_are_limited_and_the_sign_of_life_is_not(
    start_gateway: Start,
) -> None:
    async with start_gateway(anonymous_requests_per_minute=1, anonymous_burst=2) as client:
        for path, expected in (
            ("/health/live", [200] * 4),
            ("/nothing", [404, 404, 429, 429]),
            ("/health/ready", [429]),
            ("/openapi.json", [429]),
            ("/health/live", [200]),
        ):
            assert [(await client.get(path)).status_code for _ in expected] == expected

import httpx2
import pytest
from redis.asyncio import Redis

from deploy.local.ports import next_free
from libs.common.clock import new_id
from libs.common.testing import counted
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.stage import Stage

pytestmark = pytest.mark.integration
REQUESTS = "thoughtflow_gateway_requests_total"
LIVE = "thoughtflow_live_connections"


async def test_clients_find_no_metrics_neither_the_gateways_nor_a_services(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    token = {"Authorization": f"Bearer {fakes.token(new_id())}"}
    paths = ("/metrics", "/metrics/", "/chatroom/metrics", "/user/../metrics", "/health/metrics")

    answers = [await client.get(path, headers=token) for path in paths]

    assert not [answer for answer in answers if b"thoughtflow_" in answer.content]
    assert (answers[0].status_code, answers[0].json()["code"]) == (404, "not_found")
    assert "/metrics" not in [scope["path"] for scope in fakes.seen]


async def test_they_are_on_a_port_of_their_own_and_gone_with_the_gateway(
    start_gateway: Start, fakes: FakeServices
) -> None:
    port, room_id = next_free(23900), new_id()
    async with start_gateway(metrics_port=port) as client, httpx2.AsyncClient() as prometheus:
        token = {"Authorization": f"Bearer {fakes.token(new_id())}"}
        await client.get(f"/chatroom/{room_id}/message", headers=token)

        told = (await prometheus.get(f"http://127.0.0.1:{port}/metrics")).text

    assert 'thoughtflow_gateway_requests_total{method="GET",status="404",upstream="chat"}' in told
    assert "thoughtflow_gateway_request_duration_seconds_bucket" in told
    assert str(room_id) not in told
    async with httpx2.AsyncClient() as prometheus:
        with pytest.raises(httpx2.ConnectError):
            await prometheus.get(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.parametrize(
    ("method", "path", "service", "label", "status"),
    [
        ("GET", "/user/me", "auth", "GET", "200"),
        ("GET", "/nothing", "gateway", "GET", "404"),
        ("TRACE", "/user/me", "auth", "other", "405"),
        ("GET", "/user%2fme", "gateway", "GET", "404"),
        ("GET", "/chatroom", "chat", "GET", "401"),
    ],
)
async def test_a_request_is_counted_by_service_and_status_whatever_the_client_makes_up(
    client: httpx2.AsyncClient,
    fakes: FakeServices,
    method: str,
    path: str,
    service: str,
    label: str,
    status: str,
) -> None:
    labels = {"upstream": service, "method": label, "status": status}
    token = {} if status == "401" else {"Authorization": f"Bearer {fakes.token(new_id())}"}
    before = counted(REQUESTS, **labels)

    answer = await client.request(method, path, headers=token)

    assert answer.status_code == int(status)
    assert counted(REQUESTS, **labels) == before + 1


async def test_a_refusal_is_counted_under_the_limit_that_refused(start_gateway: Start) -> None:
    labels = {"code": "rate_limited", "policy": "anonymous"}
    before = counted("thoughtflow_refusals_total", **labels)
    async with start_gateway(anonymous_requests_per_minute=1, anonymous_burst=1) as client:
        answers = [await client.get("/nothing") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404, 429, 429]
    assert counted("thoughtflow_refusals_total", **labels) == before + 2


async def test_live_connections_are_counted_while_they_are_open(
    client: httpx2.AsyncClient, fakes: FakeServices, redis: Redis
) -> None:
    stage = Stage(client, fakes, redis)
    kinds = ("event_stream", "websocket")

    async def are_open(*numbers: int) -> bool:
        return tuple(counted(LIVE, kind=kind) for kind in kinds) == numbers

    async with stage.watching(), socket_to(client):
        await eventually(lambda: are_open(1, 1))
    await eventually(lambda: are_open(0, 0))

"""What every service counts of its requests, deliveries and unsent events."""

from collections.abc import AsyncIterator
from contextlib import nullcontext

import httpx2
import pytest
from fastapi import APIRouter, Request, Response

from libs.common.broker import Brokers, make_brokers
from libs.common.clock import new_id
from libs.common.db import Connection, open_pool
from libs.common.errors import LimitReachedError
from libs.common.events import UserRegistered
from libs.common.http import DirectRoute, create_service, metrics_router
from libs.common.outbox import Relay
from libs.common.testing import counted, eventually
from libs.common.tests.billing import registering
from libs.common.topology import queue

REQUESTS = "thoughtflow_http_requests_total"
DELIVERIES = "thoughtflow_deliveries_total"
router = APIRouter()
direct = APIRouter(route_class=DirectRoute)


@router.get("/cup/{cup_id}")
async def get_cup(cup_id: str) -> str:
    return cup_id


@router.get("/full")
async def refuse() -> None:
    raise LimitReachedError("no more tea", extra={"policy": "cups"})


@router.get("/broken")
async def break_down() -> None:
    raise RuntimeError("a cup fell")


@direct.get("/direct")
async def answer(request: Request) -> Response:
    return Response(b"tea")


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = create_service(
        "Tea", lifespan=lambda _: nullcontext(), routers=[router, direct, metrics_router]
    )
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tea") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/cup/12345", "/cup/{cup_id}", "200"),
        ("/direct", "/direct", "200"),
        ("/made/up/by/a/client", "none", "404"),
        ("/full", "/full", "429"),
        ("/broken", "/broken", "500"),
    ],
)
async def test_a_request_is_counted_by_the_template_of_its_path(
    client: httpx2.AsyncClient, path: str, route: str, status: str
) -> None:
    labels = {"method": "GET", "route": route}
    seconds = "thoughtflow_http_request_duration_seconds_count"
    before = counted(REQUESTS, status=status, **labels), counted(seconds, **labels)

    answer = await client.get(path)

    assert answer.status_code == int(status)
    after = counted(REQUESTS, status=status, **labels), counted(seconds, **labels)
    assert after == (before[0] + 1, before[1] + 1)


async def test_prometheus_reads_them_and_its_own_visits_do_not_count(
    client: httpx2.AsyncClient,
) -> None:
    await client.get("/cup/67890")

    await client.get("/metrics")
    told = await client.get("/metrics")

    assert told.headers["content-type"].startswith("text/plain; version=")
    assert 'route="/cup/{cup_id}"' in told.text
    assert "67890" not in told.text
    assert 'route="/metrics"' not in told.text
    assert "_created" not in told.text


async def test_a_refusal_is_counted_with_its_policy_and_an_error_is_not(
    client: httpx2.AsyncClient,
) -> None:
    labels = {"code": "limit_reached", "policy": "cups"}
    before = counted("thoughtflow_refusals_total", **labels)

    await client.get("/full")
    await client.get("/broken")

    assert counted("thoughtflow_refusals_total", **labels) == before + 1
    assert counted("thoughtflow_refusals_total", code="internal_error", policy="") == 0


@pytest.fixture
async def brokers(rabbitmq_url: str) -> AsyncIterator[Brokers]:
    async def take(res: None, event: UserRegistered) -> None:
        return

    async with registering(rabbitmq_url, None, take) as brokers:
        yield brokers


@pytest.mark.integration
@pytest.mark.parametrize(
    ("message_type", "body", "label", "outcome"),
    [
        (UserRegistered.TYPE, None, UserRegistered.TYPE, "done"),
        (UserRegistered.TYPE, b"no event", UserRegistered.TYPE, "dead"),
        ("made.up.by.someone", b"no event", "other", "dead"),
    ],
)
async def test_a_delivery_is_counted_by_its_type_if_we_know_it_and_by_its_outcome(
    brokers: Brokers, message_type: str, body: bytes | None, label: str, outcome: str
) -> None:
    event = UserRegistered(user_id=new_id())
    before = counted(DELIVERIES, type=label, outcome=outcome)

    await brokers.publish.publish(
        body or event.model_dump_json().encode(),
        queue=queue("billing", UserRegistered).name,
        message_id=str(new_id()),
        message_type=message_type,
    )

    async def is_counted() -> bool:
        return counted(DELIVERIES, type=label, outcome=outcome) >= before + 1

    await eventually(is_counted)
    assert counted("thoughtflow_delivery_duration_seconds_count", type=label) >= 1


@pytest.mark.integration
async def test_the_outbox_tells_how_much_waits_and_for_how_long(
    conn: Connection, database_urls: dict[str, str], rabbitmq_url: str
) -> None:
    await conn.executemany(
        "INSERT INTO outbox (event_id, type, payload, created_at)"
        " VALUES ($1, 'x', '{}', now() - make_interval(secs => $2))",
        [(new_id(), 5.0), (new_id(), 60.0)],
    )
    async with await open_pool(database_urls["chat"], schema="chat") as pool:
        brokers = make_brokers(rabbitmq_url, service="chat", prefetch=1)
        relay = Relay(pool, brokers.publish)

        await relay.measure()
        waits = counted("thoughtflow_outbox_events"), counted("thoughtflow_outbox_lag_seconds")
        await conn.execute("DELETE FROM outbox")
        await relay.measure()

    assert waits[0] == 2
    assert 60 <= waits[1] < 90
    assert counted("thoughtflow_outbox_events") == counted("thoughtflow_outbox_lag_seconds") == 0

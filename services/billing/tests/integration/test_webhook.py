import asyncio
import json
import time
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing.errors import BillingUnavailableError
from services.billing.tests.integration.system import SECRET, Billing, Emulator, signed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


def event_about(customer: Any, *, kind: str = "customer.subscription.updated") -> str:
    about = {"object": "subscription", "id": "sub_made_up", "customer": customer}
    return json.dumps(
        {"id": "evt_made_up", "object": "event", "type": kind, "data": {"object": about}}
    )


PAYLOAD = event_about("cus_unknown")
OTHER = PAYLOAD.replace("cus_unknown", "cus_other")
NOW = int(time.time())


async def events(conn: Connection) -> list[Any]:
    return await conn.fetch("SELECT id, customer_id, applied_at FROM stripe_event")


BAD_SIGNATURES = [
    "",
    "nonsense",
    "t=,v1=",
    f"t={NOW}",
    f"v1={'0' * 64}",
    f"t={NOW},v1=",
    f"t={NOW},v1={'0' * 64}",
    f"t={NOW},v1=\u00e9",
    signed(PAYLOAD).replace("v1=", "v0="),
    signed(PAYLOAD, secret="whsec_of_someone_else"),
    signed(OTHER),
    signed(json.dumps(json.loads(PAYLOAD), indent=1)),
    signed(PAYLOAD, age_s=100_000),
]


@pytest.mark.parametrize("header", BAD_SIGNATURES, ids=range(len(BAD_SIGNATURES)))  # not by time
async def test_a_bad_signature_is_refused_and_leaves_nothing(
    billing: Billing, conn: Connection, header: str
) -> None:
    answer = await billing.http.post(
        "/webhook/stripe",
        content=PAYLOAD.encode(),
        headers=[
            (b"content-type", b"application/json"),
            (b"stripe-signature", header.encode("latin-1")),
        ],
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")
    assert await events(conn) == []


async def test_a_stamp_with_two_equals_signs_is_read_as_stripe_reads_it(billing: Billing) -> None:
    header = signed(PAYLOAD)
    stamp = header.partition(",")[0]

    assert (await billing.webhook(PAYLOAD, header.replace(stamp, f"{stamp}=1"))).status_code == 200


async def test_a_webhook_without_a_signature_is_refused(billing: Billing, conn: Connection) -> None:
    answer = await billing.http.post("/webhook/stripe", json=json.loads(PAYLOAD))

    assert answer.status_code == 400
    assert await events(conn) == []


@pytest.mark.parametrize(
    ("age_s", "status"), [(200, 200), (-200, 200), (310, 400), (-310, 400), (0, 200)]
)
async def test_a_signature_is_good_for_five_minutes_either_way(
    billing: Billing, age_s: int, status: int
) -> None:
    assert (await billing.webhook(PAYLOAD, signed(PAYLOAD, age_s=age_s))).status_code == status


@pytest.mark.parametrize("secret", [SECRET, "whsec_the_next_one"])
async def test_any_of_the_secrets_and_any_of_the_signatures_will_do(
    billing: Billing, secret: str
) -> None:
    header = signed(PAYLOAD, secret=secret).replace(",v1=", f",v1={'0' * 64},v1=")
    assert (await billing.webhook(PAYLOAD, header)).json() == {"received": True}


@pytest.mark.parametrize(
    "payload",
    [
        "not JSON",
        "[]",
        "null",
        "{}",
        '{"id": 7, "type": "x"}',
        '{"id": "evt\\u0000", "type": "x"}',
        '{"id": "evt_1", "type": "\\ud800"}',
        "[" * 100_000,
        '{"id":' * 100_000,
    ],
)
async def test_signed_nonsense_is_a_400_and_leaves_nothing(
    billing: Billing, conn: Connection, payload: str
) -> None:
    answer = await billing.webhook(payload)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_event")
    assert await events(conn) == []


async def test_a_body_of_five_megabytes_is_refused(billing: Billing) -> None:
    assert (await billing.webhook(" " * 5_000_000)).status_code == 413


@pytest.mark.parametrize(
    "payload",
    [
        event_about("cus_unknown"),
        event_about({"id": "cus_unknown", "object": "customer"}),
        event_about(None, kind="something.nobody_knows"),
        event_about(["cus_unknown"]),
        '{"id": "evt_thin", "type": "v2.core.event"}',
        '{"id": "evt_thin", "type": "x", "data": {"object": {"x": "\\u0000"}}}',
    ],
)
async def test_an_event_that_means_nothing_to_us_is_accepted_and_settled(
    billing: Billing, conn: Connection, payload: str
) -> None:
    assert (await billing.webhook(payload)).status_code == 200

    async def settled() -> bool:
        return [bool(row["applied_at"]) for row in await events(conn)] == [True]

    await eventually(settled)


async def test_one_event_ten_times_in_parallel_is_one_row_and_one_change(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await billing.session(user_id))
    payload = event_about(await conn.fetchval("SELECT stripe_customer_id FROM customer"))

    answers = await asyncio.gather(*(billing.webhook(payload) for _ in range(10)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(await events(conn)) == 1
    await billing.wait_for(user_id, plan="pro")
    assert (await billing.webhook(payload)).status_code == 200
    assert [change.version for change in await billing.wait_for_changes(user_id)] == [1]


async def test_the_payload_of_an_event_is_not_believed(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await billing.session(user_id)
    document = json.loads(
        event_about(await conn.fetchval("SELECT stripe_customer_id FROM customer"))
    )
    document["data"]["object"] |= {"status": "active", "metadata": {"user_id": str(user_id)}}

    assert (await billing.webhook(json.dumps(document))).status_code == 200

    assert await eventually(lambda: _as_of(billing, user_id))
    assert (await billing.status(user_id))["plan"] == "basic"


async def _as_of(billing: Billing, user_id: UUID) -> Any:
    return (await billing.status(user_id))["as_of"]


async def test_an_event_waits_for_a_stripe_that_is_away(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    session_id = await billing.session(user_id)
    await emulator.control("/faults", status=500, times=4, path="/v1/subscriptions")
    await emulator.pay(session_id)

    await billing.wait_for(user_id, plan="pro", within_s=15)

    attempts = await conn.fetch("SELECT attempts, error FROM stripe_event ORDER BY attempts")
    assert attempts[-1]["attempts"] >= 1
    assert attempts[-1]["error"] in {None, BillingUnavailableError.__name__}


async def test_without_a_secret_there_is_no_webhook(
    billing: Billing, app: FastAPI, conn: Connection
) -> None:
    res = app.state.resources
    for secret in (None, "", " , "):
        settings = res.settings.model_copy(update={"stripe_webhook_secret": None})
        if secret is not None:
            settings = type(settings).model_validate(
                {**settings.model_dump(), "stripe_webhook_secret": secret}
            )
        app.state.resources = type(res)(
            settings, res.db, res.brokers, res.relay, res.payments, res.locks
        )
        answer = await billing.webhook(PAYLOAD, signed(PAYLOAD, secret="x"))
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_disabled")
    assert await events(conn) == []

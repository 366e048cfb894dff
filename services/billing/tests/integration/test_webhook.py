import asyncio
import json
import time
from collections.abc import AsyncIterator
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
    signed(PAYLOAD, secret=""),
    signed(OTHER),
    signed(json.dumps(json.loads(PAYLOAD), indent=1)),
    signed(PAYLOAD, age_s=100_000),
]


@pytest.mark.parametrize("header", BAD_SIGNATURES, ids=range(len(BAD_SIGNATURES)))  # not by time
async def test_a_bad_signature_is_refused_and_leaves_nothing(
    billing: Billing, conn: Connection, header: str
) -> None:
    """B1: empty, wrong, v0 alone, of an empty secret, re-serialised, tampered with, old."""
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
    """B1: and B7, as only what Stripe has signed is looked at."""
    answer = await billing.http.post("/webhook/stripe", json=json.loads(PAYLOAD))

    assert answer.status_code == 400
    assert await events(conn) == []


@pytest.mark.parametrize(
    ("age_s", "status"), [(200, 200), (-200, 200), (310, 400), (-310, 400), (0, 200)]
)
async def test_a_signature_is_good_for_five_minutes_either_way(
    billing: Billing, age_s: int, status: int
) -> None:
    """B2: and a stamp from the future is no better than an old one."""
    assert (await billing.webhook(PAYLOAD, signed(PAYLOAD, age_s=age_s))).status_code == status


@pytest.mark.parametrize("secret", [SECRET, "whsec_the_next_one"])
async def test_any_of_the_secrets_and_any_of_the_signatures_will_do(
    billing: Billing, secret: str
) -> None:
    """B2: while one secret replaces the other."""
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
    """B5: and never a 5xx."""
    answer = await billing.webhook(payload)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_event")
    assert await events(conn) == []


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 200), (1 << 20 | 1, 413), (5_000_000, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_over_a_mebibyte_is_refused_and_leaves_nothing(
    billing: Billing, conn: Connection, size: int, status: int, is_chunked: bool
) -> None:
    """B5: signed or not, whether its length is told or not; the largest that may be is taken."""
    payload = PAYLOAD + " " * (size - len(PAYLOAD))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 60_000):
            yield payload[start : start + 60_000].encode()

    answer = await billing.http.post(
        "/webhook/stripe",
        content=chunks() if is_chunked else payload.encode(),
        headers={"content-type": "application/json", "stripe-signature": signed(payload)},
    )

    assert answer.status_code == status
    assert len(await events(conn)) == (status == 200)


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
    """B5: an unknown type or customer is a 2xx, else Stripe would try for days."""
    assert (await billing.webhook(payload)).status_code == 200

    async def settled() -> bool:
        return [bool(row["applied_at"]) for row in await events(conn)] == [True]

    await eventually(settled)


@pytest.mark.parametrize("times", [10, 100])
async def test_one_event_many_times_in_parallel_is_one_row_and_one_change(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID, times: int
) -> None:
    """B3: the same event 10 times, and 100 times."""
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await billing.session(user_id))
    payload = event_about(await conn.fetchval("SELECT stripe_customer_id FROM customer"))

    answers = await asyncio.gather(*(billing.webhook(payload) for _ in range(times)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(await events(conn)) == 1
    await billing.wait_for(user_id, plan="pro")
    assert (await billing.webhook(payload)).status_code == 200
    assert [change.version for change in await billing.wait_for_changes(user_id)] == [1]
    told = "SELECT count(*) FROM timeline WHERE position('evt_made_up' IN events::text) > 0"
    assert await conn.fetchval(told) == 1
    assert [row["applied_at"] for row in await events(conn)] != [None]


async def test_the_payload_of_an_event_is_not_believed(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    """B4: a stale `active` makes nobody Pro."""
    await billing.session(user_id)
    document = json.loads(
        event_about(await conn.fetchval("SELECT stripe_customer_id FROM customer"))
    )
    document["data"]["object"] |= {"status": "active", "metadata": {"user_id": str(user_id)}}

    assert (await billing.webhook(json.dumps(document))).status_code == 200

    assert await eventually(lambda: _as_of(billing, user_id))
    assert (await billing.status(user_id))["plan"] == "basic"


async def test_the_customer_that_we_stored_decides_and_no_metadata(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    """B9: another customer who pays, and says that it is for our user."""
    await billing.session(user_id)
    claim = {"metadata[user_id]": str(user_id)}
    other = await emulator.post("/customers", email="eve@example.com", **claim)
    form = {"customer": other["id"], "items[0][price]": "price_pro_monthly", **claim}
    paid = await emulator.post("/subscriptions", **form)
    assert paid["status"] == "active"

    async def settled() -> bool:
        found = [row for row in await events(conn) if row["customer_id"] == other["id"]]
        return len(found) >= 5 and all(row["applied_at"] for row in found)

    await eventually(settled)
    assert (await billing.status(user_id))["plan"] == "basic"
    assert await billing.changes(user_id) == []


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

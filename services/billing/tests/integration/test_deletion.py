"""A user's end, as billing sees it: nobody pays for an account that is gone."""

import asyncio
import json
from uuid import UUID

import pytest

from libs.common.db import Connection
from libs.common.events import UserChanged, UserDeleted, UserRegistered
from services.billing.actions import deletion, syncing, users
from services.billing.errors import CancellationPendingError
from services.billing.store import deletion as store
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
TABLES = (
    *("customer", "subscription", "checkout", "invoice", "stripe_event", "outbox"),
    *("timeline", "duplicate_subscription"),
)
NOTHING = dict.fromkeys(TABLES, 0)


async def rows(conn: Connection, *ids: object) -> dict[str, int]:
    """Return how many rows name one of these; other tests' events may bring others."""
    count = (
        "SELECT count(*) FROM {} t WHERE EXISTS"
        " (SELECT FROM unnest($1::text[]) id WHERE position(id IN t::text) > 0)"
    )
    names = [str(each) for each in ids]
    return {name: await conn.fetchval(count.format(name), names) for name in TABLES}


async def subscribed(billing: Billing, emulator: Emulator, user_id: UUID) -> str:
    """Return the Stripe customer of a user who pays."""
    await users.record_user(billing.res, UserRegistered(user_id=user_id, email="ada@example.org"))
    await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")
    (customer,) = (await emulator.api("/customers"))["data"]
    return str(customer["id"])


async def statuses(emulator: Emulator, customer: str) -> list[str]:
    listed = await emulator.api("/subscriptions", customer=customer, status="all")
    return [each["status"] for each in listed["data"]]


async def test_a_deletion_cancels_at_once_and_leaves_nothing(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    """P3: no live subscription, no customer at Stripe, no row here; webhooks bring none back."""
    customer = await subscribed(billing, emulator, user_id)
    subscription = (await emulator.api("/subscriptions", customer=customer))["data"][0]["id"]

    before = await rows(conn, user_id, customer)
    assert min(before[name] for name in ("stripe_event", "invoice", "timeline")) > 0

    for _ in range(2):
        await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))

    assert (await emulator.api(f"/subscriptions/{subscription}"))["status"] == "canceled"
    assert (await emulator.api("/customers"))["data"] == []
    told = (await emulator.api("/events", limit="100"))["data"]
    assert {"customer.subscription.deleted", "customer.deleted"} <= {e["type"] for e in told}
    for event in told:
        assert (await billing.webhook(json.dumps(event))).status_code == 200
    assert await rows(conn, user_id, customer) == NOTHING


async def test_a_dispute_about_a_deleted_users_payment_is_not_kept(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    """P3: it names the payment alone, and what it says of the person is not for us any more."""
    await subscribed(billing, emulator, user_id)
    (charge,) = (await emulator.api("/charges"))["data"]
    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))
    await emulator.control("/webhooks", mode="drop")

    await emulator.control(f"/charges/{charge['id']}/dispute")

    (told, *_) = (await emulator.api("/events", type="charge.dispute.created"))["data"]
    assert (await billing.webhook(json.dumps(told))).status_code == 200
    assert await rows(conn, user_id, charge["id"], charge["payment_intent"]) == NOTHING


async def test_a_session_that_is_open_can_be_paid_no_more(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    session = await billing.session(user_id)

    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))

    assert (await emulator.api(f"/checkout/sessions/{session}"))["status"] == "expired"
    assert await rows(conn, user_id) == NOTHING


async def test_as_long_as_stripe_is_away_the_customer_is_known_and_the_event_comes_again(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    customer = await subscribed(billing, emulator, user_id)
    await emulator.control("/faults", path="/v1/customers", mode="error", status=500, times=2)

    with pytest.raises(CancellationPendingError) as raised:
        await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))

    assert raised.value.patient
    assert await conn.fetchval("SELECT stripe_customer_id FROM customer") == customer
    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))
    assert await conn.fetchval("SELECT count(*) FROM customer") == 0
    assert (await emulator.api("/customers"))["data"] == []


async def test_what_comes_late_brings_nothing_back(
    billing: Billing, conn: Connection, user_id: UUID
) -> None:
    """P3, E2, E3: a registration that is heard after the deletion, a change, a token."""
    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))

    await users.record_user(billing.res, UserRegistered(user_id=user_id, email="a@example.org"))
    await users.record_change(billing.res, UserChanged(user_id=user_id, version=2, name="Ada"))
    subscribing = await billing.subscribe(user_id)

    assert (subscribing.status_code, subscribing.json()["code"]) == (401, "account_deleted")
    assert await rows(conn, user_id) == NOTHING


async def test_a_purchase_that_races_the_deletion_is_not_left_alive(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    subscribing = [asyncio.create_task(billing.subscribe(user_id)) for _ in range(5)]
    await asyncio.sleep(0.02)

    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))
    answers = await asyncio.gather(*subscribing)

    assert {answer.status_code for answer in answers} <= {200, 201, 401}
    sessions = (await emulator.api("/checkout/sessions", limit="100"))["data"]
    assert {each["status"] for each in sessions} <= {"expired"}
    assert await rows(conn, user_id) == NOTHING


async def test_a_sync_that_waited_for_the_deletion_stores_nothing(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    customer = await subscribed(billing, emulator, user_id)

    async with billing.res.locks.held(user_id, within_s=5):
        sync = asyncio.create_task(syncing.sync_customer(billing.res, customer))
        await asyncio.sleep(0.1)  # it has looked up whose customer it is
        await store.delete_subscription(conn, user_id)
        await store.delete_customer(conn, user_id)

    assert await sync is None
    left = await rows(conn, user_id)
    assert (left["customer"], left["subscription"]) == (0, 0)

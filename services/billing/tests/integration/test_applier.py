import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing import applier
from services.billing.actions import checkouts, syncing
from services.billing.applier import Applier
from services.billing.payments import Payments
from services.billing.resources import Resources
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


class Disturbed:
    """Stripe, with some answers of its own; counts the calls that reach it."""

    def __init__(self, payments: Payments, *, poisoned: str = "none", slow_s: float = 0) -> None:
        self._payments = payments
        self._poisoned = poisoned
        self._slow_s = slow_s
        self.calls = 0

    async def subscriptions_of(self, stripe_customer_id: str) -> Any:
        if stripe_customer_id.startswith(self._poisoned):
            raise ValueError("what nobody thought of")
        return await self._payments.subscriptions_of(stripe_customer_id)

    async def session_state(self, session_id: str) -> Any:
        self.calls += 1
        await asyncio.sleep(self._slow_s)
        return await self._payments.session_state(session_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._payments, name)


def disturbed(res: Resources, **options: Any) -> tuple[Resources, Disturbed]:
    payments = Disturbed(res.payments, **options)
    return replace(res, payments=cast("Payments", payments)), payments


async def add_customers(conn: Connection, *names: str) -> None:
    """Add customers with a subscription that was last looked at two hours ago."""
    for name in names:
        user_id = new_id()
        await conn.execute(
            "INSERT INTO customer (user_id, stripe_customer_id) VALUES ($1, $2)", user_id, name
        )
        await conn.execute(
            "INSERT INTO subscription (user_id, status, as_of)"
            " VALUES ($1, 'active', now() - interval '2 hours')",
            user_id,
        )


async def add_events(conn: Connection, *customers: str) -> None:
    for customer in customers:
        await conn.execute(
            "INSERT INTO stripe_event (id, type, customer_id, payload, received_at, next_try_at)"
            " VALUES ($1, 'x', $2, '{}', now(), now() - interval '1 hour')",
            f"evt_{customer}",
            customer,
        )


@pytest.fixture
def _background_is_quiet(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service's own applier does nothing; the test calls one of its own."""

    async def nothing(_: Applier) -> int:
        return 0

    with monkeypatch.context() as patch:
        for name in ("apply_due", "sweep", "tidy"):
            patch.setattr(f"services.billing.app.Applier.{name}", nothing)
        yield


APPLY, SWEEP, TIDY = Applier.apply_due, Applier.sweep, Applier.tidy


@pytest.mark.usefixtures("_background_is_quiet")
async def test_events_of_poisoned_customers_do_not_stop_the_others(
    billing: Billing, conn: Connection
) -> None:
    poisoned = [f"cus_bad{n}" for n in range(applier.BATCH)]
    await add_customers(conn, *poisoned, "cus_good")
    await add_events(conn, *poisoned, "cus_good")
    await conn.execute(
        "UPDATE stripe_event SET next_try_at = now() - interval '1 s' WHERE id = 'evt_cus_good'"
    )
    res, _ = disturbed(billing.res, poisoned="cus_bad")

    assert await APPLY(Applier(res)) == applier.BATCH
    await APPLY(Applier(res))

    waiting = await conn.fetch(
        "SELECT customer_id, error FROM stripe_event WHERE applied_at IS NULL"
    )
    assert sorted(row["customer_id"] for row in waiting) == sorted(poisoned)
    assert {row["error"] for row in waiting} == {"ValueError"}


@pytest.mark.usefixtures("_background_is_quiet")
async def test_customers_that_cannot_be_compared_do_not_stop_the_sweep(
    billing: Billing, conn: Connection
) -> None:
    poisoned = [f"cus_bad{n}" for n in range(applier.BATCH)]
    await add_customers(conn, *poisoned)
    await add_customers(conn, "cus_good")
    await conn.execute(
        "UPDATE subscription SET as_of = now() - interval '61 minutes' FROM customer"
        " WHERE customer.user_id = subscription.user_id AND stripe_customer_id = 'cus_good'"
    )
    res, _ = disturbed(billing.res, poisoned="cus_bad")

    assert [await SWEEP(Applier(res)) for _ in range(2)] == [0, 1]
    with capture_logs() as logged:
        assert await SWEEP(Applier(res)) == 0
    assert [line for line in logged if line["event"] == "sweep_postponed"] == []
    await conn.execute("UPDATE customer SET swept_at = swept_at - interval '6 minutes'")
    with capture_logs() as logged:
        await SWEEP(Applier(res))
    assert len([line for line in logged if line["event"] == "sweep_postponed"]) == applier.BATCH


async def test_two_subscriptions_that_are_alive_are_reported_with_their_ids(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    ids = []
    for _ in range(2):
        ids.append(await emulator.pay(await billing.session(user_id)))
        await conn.execute("DELETE FROM checkout")
    customer_id = await conn.fetchval("SELECT stripe_customer_id FROM customer")

    with capture_logs() as logged:
        await syncing.sync_customer(billing.res, customer_id)

    (line,) = [line for line in logged if line["event"] == "several_subscriptions"]
    assert line["log_level"] == "error"
    assert sorted(line["subscription_ids"]) == sorted(ids)


async def test_another_product_of_the_account_is_not_pro(
    billing: Billing, emulator: Emulator, user_id: UUID, conn: Connection
) -> None:
    await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")
    customer_id = await conn.fetchval("SELECT stripe_customer_id FROM customer")

    for listed, plan in (("price_other", "basic"), ("price_other,price_pro_monthly", "pro")):
        settings = billing.res.settings.model_copy(update={"stripe_pro_price_id": listed})
        standing = await syncing.sync_customer(replace(billing.res, settings=settings), customer_id)
        assert standing is not None
        assert standing.plan == plan


@pytest.mark.usefixtures("_background_is_quiet")
async def test_a_new_allowance_reaches_who_was_pro_once_and_nobody_twice(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    subscription_id = await emulator.pay(await billing.session(user_id))
    customer_id = await conn.fetchval("SELECT stripe_customer_id FROM customer")
    await syncing.sync_customer(billing.res, customer_id)
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    await syncing.sync_customer(billing.res, customer_id)
    settings = billing.res.settings.model_copy(update={"basic_messages_per_day": 7})
    res = replace(billing.res, settings=settings)

    await TIDY(Applier(res))
    assert await conn.fetchval("SELECT version FROM subscription") == 3
    await TIDY(Applier(res))
    await syncing.sync_customer(res, customer_id)

    async def three_changes() -> bool:
        return len(await billing.changes(user_id)) >= 3

    await eventually(three_changes)
    changes = await billing.changes(user_id)
    assert [change.version for change in changes] == [1, 2, 3]
    assert [change.entitlements.messages_per_day for change in changes] == [None, 20, 7]


@pytest.mark.usefixtures("_background_is_quiet")
@pytest.mark.parametrize(
    ("age", "is_applied", "is_kept"),
    [
        (timedelta(days=31), True, False),
        (timedelta(days=29), True, True),
        (timedelta(days=31), False, True),
    ],
)
async def test_applied_events_are_kept_for_thirty_days(
    billing: Billing, conn: Connection, age: timedelta, is_applied: bool, is_kept: bool
) -> None:
    await add_events(conn, "cus_1")
    applied_at: datetime | None = utc_now() if is_applied else None
    await conn.execute(
        "UPDATE stripe_event SET received_at = $1, applied_at = $2", utc_now() - age, applied_at
    )

    await TIDY(Applier(billing.res))

    assert await conn.fetchval("SELECT count(*) FROM stripe_event") == int(is_kept)


async def test_stripe_is_asked_only_about_sessions_that_we_gave_and_that_are_open(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    session_id = await billing.session(user_id)
    res, payments = disturbed(billing.res)

    assert not await checkouts.complete_checkout(res, "cs_test_made_up")
    assert payments.calls == 0
    assert not await checkouts.complete_checkout(res, session_id)
    await emulator.pay(session_id)
    await billing.wait_for(user_id, plan="pro")
    asked = payments.calls
    assert asked == 1
    assert await checkouts.complete_checkout(res, session_id)
    assert payments.calls == asked


async def test_the_page_after_the_payment_does_not_wait_for_ever(
    billing: Billing, app: FastAPI, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await billing.session(user_id)
    monkeypatch.setattr(checkouts, "COMPLETE_S", 0.3)
    app.state.resources, _ = disturbed(billing.res, slow_s=30)

    started = time.monotonic()
    page = await billing.http.get(f"/subscription/complete?session_id={session_id}")

    assert time.monotonic() - started < 5
    assert (page.status_code, "still waiting" in page.text) == (200, True)

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing.actions import syncing
from services.billing.applier import Applier
from services.billing.payments import Payments
from services.billing.tests.integration.system import Billing, Clock, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


async def all_applied(conn: Connection, *, at_least: int = 1) -> None:
    async def probe() -> bool:
        rows = await conn.fetch("SELECT applied_at FROM stripe_event")
        return len(rows) >= at_least and all(row["applied_at"] for row in rows)

    await eventually(probe)


async def test_who_was_never_heard_of_is_basic(billing: Billing, user_id: UUID) -> None:
    status = await billing.status(user_id)

    assert status.pop("entitlements")["messages_per_day"] == 20
    assert status == {
        "plan": "basic",
        "status": "none",
        "current_period_end": None,
        "cancel_at_period_end": False,
        "grants": [],
        "as_of": None,
    }


async def test_a_payment_makes_pro_and_reaches_chat_within_two_seconds(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    """C6: as far as billing has a part in it."""
    await emulator.pay(await billing.session(user_id))

    changes = await billing.wait_for_changes(user_id, within_s=2)
    status = await billing.status(user_id)

    assert (changes[-1].plan, changes[-1].status) == ("pro", "active")
    assert changes[-1].entitlements.messages_per_day is None
    assert (status["plan"], status["entitlements"]["messages_per_day"]) == ("pro", None)


@pytest.mark.parametrize("disturbance", [{"mode": "reverse"}, {"mode": "duplicate"}])
async def test_disturbed_webhooks_end_in_one_change_to_pro(
    billing: Billing,
    emulator: Emulator,
    conn: Connection,
    user_id: UUID,
    disturbance: dict[str, Any],
) -> None:
    """B4: what was created last is heard first."""
    await emulator.control("/webhooks", **disturbance)
    await emulator.pay(await billing.session(user_id))

    await billing.wait_for(user_id, plan="pro")
    await all_applied(conn, at_least=5)

    changes = await billing.wait_for_changes(user_id)
    assert [(change.version, change.plan) for change in changes] == [(1, "pro")]


async def test_a_cancellation_whose_webhooks_come_in_reverse_ends_basic(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    """B4: deleted before created, and `active` after the end."""
    await emulator.control("/webhooks", mode="hold")
    subscription_id = await emulator.pay(await billing.session(user_id))
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    await emulator.control("/webhooks/release", order="reverse")

    await billing.wait_for(user_id, plan="basic", status="canceled")
    await all_applied(conn, at_least=5)

    assert (await billing.status(user_id))["plan"] == "basic"
    assert "pro" not in [change.plan for change in await billing.changes(user_id)]


@pytest.mark.parametrize("status", ["canceled", "unpaid", "incomplete_expired", "paused"])
async def test_a_subscription_that_ends_makes_basic_and_a_revived_one_pro(
    billing: Billing, emulator: Emulator, user_id: UUID, status: str
) -> None:
    """B8: followed within 5 seconds each."""
    subscription_id = await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")

    await emulator.control(f"/subscriptions/{subscription_id}", status=status)
    await billing.wait_for(user_id, plan="basic", status=status)
    await emulator.control(f"/subscriptions/{subscription_id}", status="active")
    await billing.wait_for(user_id, plan="pro", status="active")

    async def three_changes() -> bool:
        return len(await billing.changes(user_id)) >= 3

    await eventually(three_changes)
    changes = await billing.changes(user_id)
    assert [change.version for change in changes] == [1, 2, 3]
    assert [change.plan for change in changes] == ["pro", "basic", "pro"]


async def test_past_due_stays_pro_during_its_grace(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    subscription_id = await emulator.pay(await billing.session(user_id))
    await emulator.control(f"/subscriptions/{subscription_id}", status="past_due")

    status = await billing.wait_for(user_id, status="past_due")

    assert status["plan"] == "pro"


async def test_a_declined_first_payment_never_makes_pro(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.pay(await billing.session(user_id), outcome="incomplete")

    await billing.wait_for(user_id, status="incomplete")
    await all_applied(conn)

    assert [change.plan for change in await billing.wait_for_changes(user_id)] == ["basic"]


async def test_without_any_webhook_the_page_after_the_payment_makes_pro_within_five_seconds(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    session_id = await billing.session(user_id)
    path = f"/subscription/complete?session_id={session_id}"

    before = await billing.http.get(path)
    await emulator.pay(session_id)
    started = time.monotonic()
    after = await billing.http.get(path)

    assert before.status_code == after.status_code == 200
    assert "still waiting" in before.text
    assert "You are Pro" in after.text
    assert (await billing.status(user_id))["plan"] == "pro"
    assert [change.plan for change in await billing.wait_for_changes(user_id)] == ["pro"]
    assert time.monotonic() - started < 5


async def test_without_any_webhook_or_return_the_sweep_makes_pro_after_an_hour(
    billing: Billing, emulator: Emulator, clock: Clock, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await billing.session(user_id))
    sweep = Applier(billing.res).sweep

    clock.ahead = timedelta(minutes=59)
    assert await sweep() == 0
    clock.ahead = timedelta(minutes=61)
    assert await sweep() == 1
    assert await sweep() == 0

    assert (await billing.status(user_id))["plan"] == "pro"


async def test_a_subscription_that_somebody_makes_at_stripe_is_found_within_a_day(
    billing: Billing, emulator: Emulator, clock: Clock, conn: Connection, user_id: UUID
) -> None:
    """B8: canceled before, so nothing of the user's could change by itself."""
    subscription_id = await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    await billing.wait_for(user_id, plan="basic")
    await all_applied(conn)
    await emulator.control("/webhooks", mode="drop")
    customer = await conn.fetchval("SELECT stripe_customer_id FROM customer")
    form = {"customer": customer, "items[0][price]": "price_pro_monthly"}
    await emulator.post("/subscriptions", **form)

    clock.ahead = timedelta(hours=23)
    assert await Applier(billing.res).sweep() == 0
    clock.ahead = timedelta(hours=25)
    assert await Applier(billing.res).sweep() == 1

    assert (await billing.status(user_id))["plan"] == "pro"


async def test_no_success_url_makes_anybody_pro(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    """B7: neither that of one's own session, unpaid, nor that of somebody else's, paid."""
    unpaid, paid = await billing.session(user_id), await billing.session(new_id())
    await emulator.pay(paid)

    for session_id in (unpaid, paid, "cs_test_made_up"):
        headers = {"authorization": f"Bearer {user_id}"}
        path = f"/subscription/complete?session_id={session_id}"
        assert (await billing.http.get(path, headers=headers)).status_code == 200

    assert (await billing.status(user_id))["plan"] == "basic"
    assert await billing.changes(user_id) == []


async def test_the_page_reflects_nothing_and_refuses_what_is_no_session_id(
    billing: Billing,
) -> None:
    unknown = await billing.http.get("/subscription/complete?session_id=cs_test_unknown")
    script = await billing.http.get("/subscription/complete", params={"session_id": "<script>"})
    cancelled = await billing.http.get("/subscription/cancelled")

    assert "still waiting" in unknown.text
    assert "cs_test_unknown" not in unknown.text
    assert script.status_code == 422
    assert "<script>" not in script.text
    assert "Nothing was paid" in cancelled.text
    assert "default-src 'none'" in cancelled.headers["content-security-policy"]


async def test_an_older_fetch_cannot_overwrite_a_newer_one(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    subscription_id = await emulator.pay(await billing.session(user_id))
    customer_id = await conn.fetchval("SELECT stripe_customer_id FROM customer")
    payments = billing.res.payments
    fetched, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        """Stripe, whose first answer is long on its way."""

        async def subscriptions_of(self, stripe_customer_id: str) -> Any:
            listed = await payments.subscriptions_of(stripe_customer_id)
            if not fetched.is_set():
                fetched.set()
                await go_on.wait()
            return listed

        def __getattr__(self, name: str) -> Any:
            return getattr(payments, name)

    res = replace(billing.res, payments=cast("Payments", Slow()))
    older = asyncio.create_task(syncing.sync_customer(res, customer_id))
    await fetched.wait()
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    newer = asyncio.create_task(syncing.sync_customer(res, customer_id))
    await asyncio.wait([newer], timeout=0.5)  # without the lock it would end here
    go_on.set()
    await asyncio.gather(older, newer)

    assert (await billing.status(user_id))["status"] == "canceled"

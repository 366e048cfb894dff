"""Who subscribed twice pays once: the older stays, the newer is cancelled and given back."""

import asyncio
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from libs.common.db import Connection
from services.billing import applier
from services.billing.actions import syncing
from services.billing.applier import Applier
from services.billing.payments import Payments
from services.billing.resources import Resources
from services.billing.tests.integration.system import Billing, Clock, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture
async def customer(billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID) -> str:
    """Of a user who pays twice for Pro, which billing has not heard of."""
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await billing.session(user_id))
    customer_id = str(await conn.fetchval("SELECT stripe_customer_id FROM customer"))
    await emulator.control("/clock/advance", seconds=60)
    form = {"customer": customer_id, "items[0][price]": "price_pro_monthly"}
    await emulator.post("/subscriptions", **form)
    return customer_id


async def statuses(emulator: Emulator, customer: str) -> list[str]:
    """Return what became of the customer's subscriptions, the oldest first."""
    listed = await emulator.api("/subscriptions", customer=customer, status="all")
    return [each["status"] for each in listed["data"]][::-1]


async def given_back(emulator: Emulator) -> list[tuple[int, str]]:
    listed = await emulator.api("/refunds", limit="100")
    return [(each["amount"], each["reason"]) for each in listed["data"]]


async def told(conn: Connection) -> list[str]:
    """Return what the timeline says of duplicates, oldest first."""
    rows = await conn.fetch("SELECT effect FROM timeline ORDER BY seq")
    return [row["effect"] for row in rows if row["effect"].startswith("duplicate")]


def with_payments(res: Resources, payments: object) -> Resources:
    return replace(res, payments=cast("Payments", payments))


async def test_the_newer_one_is_cancelled_and_given_back_and_somebody_is_called(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID, customer: str
) -> None:
    with capture_logs() as logged:
        await syncing.sync_customer(billing.res, customer)

    assert await statuses(emulator, customer) == ["active", "canceled"]
    (price,) = [p for p in (await emulator.api("/prices"))["data"] if p["id"] == PRO]
    assert await given_back(emulator) == [(price["unit_amount"], "duplicate")]
    alerts = [line["event"] for line in logged if line["log_level"] == "error"]
    assert alerts == ["several_subscriptions", "duplicate_subscription_healed"]
    assert await told(conn) == ["duplicate_found", "duplicate_healed"]
    assert (await billing.status(user_id))["plan"] == "pro"
    assert [change.version for change in await billing.wait_for_changes(user_id)] == [1]


PRO = "price_pro_monthly"


async def test_in_parallel_and_again_it_is_given_back_once(
    billing: Billing, emulator: Emulator, conn: Connection, customer: str
) -> None:
    await asyncio.gather(*(syncing.sync_customer(billing.res, customer) for _ in range(10)))
    await syncing.sync_customer(billing.res, customer)

    assert await statuses(emulator, customer) == ["active", "canceled"]
    assert len(await given_back(emulator)) == 1
    assert await told(conn) == ["duplicate_found", "duplicate_healed"]


@pytest.mark.parametrize("step", ["cancel_subscription", "refund_payments"])
@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_at_any_step_only_makes_it_take_longer(
    billing: Billing,
    emulator: Emulator,
    clock: Clock,
    conn: Connection,
    customer: str,
    step: str,
    is_done: bool,
) -> None:
    at_stripe = billing.res.payments

    class Dying:
        """Stripe, during a call to which the process dies, before it takes effect or after."""

        def __getattr__(self, name: str) -> Any:
            call = getattr(at_stripe, name)
            if name != step:
                return call

            async def die(*arguments: Any, **named: Any) -> None:
                if is_done:
                    await call(*arguments, **named)
                raise asyncio.CancelledError

            return die

    with pytest.raises(asyncio.CancelledError):
        await syncing.sync_customer(with_payments(billing.res, Dying()), customer)
    assert await told(conn) == ["duplicate_found"]
    clock.ahead = applier.SWEEP_AGAIN
    assert await Applier(billing.res).sweep() == 1

    assert await statuses(emulator, customer) == ["active", "canceled"]
    assert len(await given_back(emulator)) == 1
    assert await told(conn) == ["duplicate_found", "duplicate_healed"]
    after = await conn.fetchval("SELECT after FROM timeline WHERE effect = 'duplicate_healed'")
    assert '"refused": null' in after, "the second time must hear what the first was answered"


@pytest.mark.parametrize("path", ["/v1/subscriptions/sub", "/v1/refunds"])
async def test_a_stripe_that_fails_meanwhile_leaves_the_user_pro_and_is_asked_again(
    billing: Billing,
    emulator: Emulator,
    clock: Clock,
    user_id: UUID,
    customer: str,
    path: str,
) -> None:
    await emulator.control("/faults", status=500, times=2, path=path)

    standing = await syncing.sync_customer(billing.res, customer)
    assert standing is not None
    assert standing.plan == "pro"
    clock.ahead = applier.SWEEP_AGAIN
    await Applier(billing.res).sweep()

    assert (await billing.status(user_id))["plan"] == "pro"
    assert await statuses(emulator, customer) == ["active", "canceled"]
    assert len(await given_back(emulator)) == 1


async def test_what_cannot_be_given_back_is_told_and_does_not_stop_the_rest(
    billing: Billing, emulator: Emulator, conn: Connection, customer: str
) -> None:
    (newest, *_) = (await emulator.api("/charges", customer=customer))["data"]
    await emulator.control(f"/charges/{newest['id']}/dispute")

    await syncing.sync_customer(billing.res, customer)

    assert await statuses(emulator, customer) == ["active", "canceled"]
    assert await given_back(emulator) == []
    after = await conn.fetchval("SELECT after FROM timeline WHERE effect = 'duplicate_healed'")
    assert '"charge_disputed"' in after


async def test_what_was_paid_before_there_were_two_stays_paid(
    billing: Billing, emulator: Emulator, conn: Connection, customer: str
) -> None:
    """The older one is late, so the newer, which is paid, stays."""
    (newer, older) = (await emulator.api("/subscriptions", customer=customer))["data"]
    await emulator.control(f"/subscriptions/{older['id']}", status="past_due")

    await syncing.sync_customer(billing.res, customer)

    assert await statuses(emulator, customer) == ["canceled", "active"]
    assert await given_back(emulator) == []
    found = await conn.fetchrow("SELECT * FROM duplicate_subscription")
    assert found is not None
    assert (found["stripe_subscription_id"], found["kept_id"]) == (older["id"], newer["id"])


async def test_an_incomplete_one_beside_a_paid_one_can_be_paid_no_more(
    billing: Billing, emulator: Emulator, customer: str
) -> None:
    (newer, _) = (await emulator.api("/subscriptions", customer=customer))["data"]
    await emulator.control(f"/subscriptions/{newer['id']}", status="incomplete")

    await syncing.sync_customer(billing.res, customer)

    assert await statuses(emulator, customer) == ["active", "canceled"]

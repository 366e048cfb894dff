import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from libs.common.db import Connection
from libs.common.events import UserRegistered
from libs.common.testing import eventually
from libs.common.topology import EVENTS
from services.billing.actions import checkouts
from services.billing.errors import AlreadySubscribedError
from services.billing.payments import Payments, connection
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.mark.parametrize("key", [None, "the same key"])
async def test_parallel_clicks_open_one_session_for_one_customer(
    billing: Billing, emulator: Emulator, user_id: UUID, key: str | None
) -> None:
    """R5: 20 at once."""
    headers = {"idempotency-key": key} if key else {}
    answers = await asyncio.gather(*(billing.subscribe(user_id, **headers) for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert await emulator.count("customers") == 1
    assert await emulator.count("checkout/sessions") == 1


async def test_ten_clicks_and_ten_payments_end_in_one_live_subscription(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    """R5: and a Pro user is refused."""
    answers = await asyncio.gather(*(billing.subscribe(user_id) for _ in range(10)))

    await asyncio.gather(*(emulator.pay(each.json()["session_id"]) for each in answers))
    await billing.wait_for(user_id, plan="pro")

    assert [each["status"] for each in (await emulator.api("/subscriptions"))["data"]] == ["active"]
    again = await billing.subscribe(user_id)
    assert (again.status_code, again.json()["code"]) == (409, "already_subscribed")


async def test_an_expired_session_is_replaced_for_the_same_customer(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    first = await billing.session(user_id)
    await conn.execute("UPDATE checkout SET expires_at = now()")

    second = await billing.session(user_id)

    assert second != first
    assert await emulator.count("customers") == 1


async def test_a_session_that_is_replaced_cannot_be_paid_any_more(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    first = await billing.session(user_id)
    await conn.execute("UPDATE checkout SET expires_at = now() + interval '110 s'")

    second = await billing.session(user_id)

    assert second != first
    assert (await emulator.api(f"/checkout/sessions/{first}"))["status"] == "expired"
    assert (await emulator.api(f"/checkout/sessions/{second}"))["status"] == "open"


async def test_a_session_paid_in_its_last_moment_is_not_followed_by_another(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    first = await billing.session(user_id)
    await conn.execute("UPDATE checkout SET expires_at = now() + interval '110 s'")
    at_stripe = billing.res.payments

    class PaidMeanwhile:
        """Stripe, where the person pays between our look at the session and its end."""

        async def session_state(self, session_id: str) -> Any:
            state = await at_stripe.session_state(session_id)
            await emulator.pay(session_id)
            return state

        def __getattr__(self, name: str) -> Any:
            return getattr(at_stripe, name)

    res = replace(billing.res, payments=cast("Payments", PaidMeanwhile()))
    with pytest.raises(AlreadySubscribedError):
        await checkouts.subscribe_pro(res, user_id)

    assert await emulator.count("checkout/sessions") == 1
    assert (await billing.status(user_id))["plan"] == "pro"
    assert first == await conn.fetchval("SELECT session_id FROM checkout")


async def test_waiting_for_a_slot_ends_in_time(billing: Billing, user_id: UUID) -> None:
    users = [UUID(int=user_id.int + n) for n in range(1, 6)]
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        for each in users:
            await stack.enter_async_context(billing.res.locks.held(each, within_s=5))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5), billing.res.locks.held(user_id, within_s=0.2):
                pytest.fail("there was no slot left")

    assert time.monotonic() - started < 4


async def test_a_pro_user_is_refused_even_before_the_webhook_came(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await billing.session(user_id))

    for _ in range(2):
        answer = await billing.subscribe(user_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "already_subscribed")


async def test_who_cancelled_can_subscribe_again(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    first = await billing.session(user_id)
    subscription_id = await emulator.pay(first)
    await billing.wait_for(user_id, plan="pro")
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    await billing.wait_for(user_id, plan="basic")

    assert await billing.session(user_id) != first


@pytest.mark.parametrize("fault", [500, 503, 429, 401, "hang"])
async def test_a_failing_stripe_is_a_503_within_ten_seconds_and_then_all_goes_on(
    billing: Billing, emulator: Emulator, user_id: UUID, fault: int | str
) -> None:
    """B10: our own bar, 10 s."""
    await emulator.control("/faults", status=fault, times=2)

    started = time.monotonic()
    answer = await billing.subscribe(user_id)

    assert time.monotonic() - started < 10
    assert (answer.status_code, answer.json()["code"]) == (503, "billing_unavailable")
    await emulator.client.delete("/_emulator/faults")
    assert (await billing.subscribe(user_id)).status_code == 201


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Stripe no longer than a test wants to."""
    monkeypatch.setattr(connection, "TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/checkout/sessions"])
async def test_a_lost_answer_creates_nothing_twice(
    billing: Billing, emulator: Emulator, user_id: UUID, path: str
) -> None:
    await emulator.control("/faults", status="hang", times=2, path=path, after=True)

    assert (await billing.subscribe(user_id)).status_code == 503
    assert (await billing.subscribe(user_id)).status_code == 201
    assert await emulator.count("customers") == 1
    assert await emulator.count("checkout/sessions") == 1


async def test_an_announcement_that_overtakes_a_lost_answer_makes_no_second_customer(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await emulator.control("/faults", status=429, path="/v1/customers", after=True)
    assert (await billing.subscribe(user_id)).status_code == 503
    await conn.execute("UPDATE customer SET email = 'ada@example.com'")

    assert (await billing.subscribe(user_id)).status_code == 201
    (customer,) = (await emulator.api("/customers"))["data"]
    assert (customer["email"], customer["metadata"]) == (
        "ada@example.com",
        {"user_id": str(user_id)},
    )


@pytest.mark.usefixtures("impatient")
async def test_a_hanging_stripe_does_not_hold_up_who_only_reads(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.control("/faults", status="hang", times=100)
    users = [UUID(int=user_id.int + n) for n in range(12)]
    clicks = [asyncio.create_task(billing.subscribe(user)) for user in users]
    await asyncio.wait(clicks, timeout=0.3)

    started = time.monotonic()
    await billing.status(user_id)

    assert time.monotonic() - started < 1
    assert {answer.status_code for answer in await asyncio.gather(*clicks)} == {503}


async def test_a_customer_deleted_at_stripe_is_replaced_at_the_second_click(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await billing.session(user_id)
    customer_id = await conn.fetchval("SELECT stripe_customer_id FROM customer")
    await emulator.client.delete(
        f"/v1/customers/{customer_id}", headers={"authorization": "Bearer sk_test_anything"}
    )
    await conn.execute("UPDATE checkout SET expires_at = now()")

    assert (await billing.subscribe(user_id)).status_code == 503
    assert (await billing.subscribe(user_id)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_out_of_bounds_is_refused(
    billing: Billing, user_id: UUID, key: str
) -> None:
    assert (await billing.subscribe(user_id, **{"idempotency-key": key})).status_code == 422


async def test_a_user_announced_twice_is_one_customer_with_an_email(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    event = UserRegistered(user_id=user_id, email="ada@example.com", name="Ada")
    for _ in range(2):
        await billing.res.brokers.publish.publish(
            event, exchange=EVENTS, routing_key=event.TYPE, message_type=event.TYPE
        )

    async def known() -> bool:
        return bool(await conn.fetchval("SELECT count(*) FROM customer"))

    await eventually(known)
    await billing.session(user_id)
    customer = (await emulator.api("/customers"))["data"][0]
    assert (customer["email"], customer["name"]) == ("ada@example.com", "Ada")
    assert customer["metadata"] == {"user_id": str(user_id)}

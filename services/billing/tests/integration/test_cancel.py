"""Cancelling with the period's end, and resuming: at Stripe first, and in our copy at once."""

import time
from typing import Any
from uuid import UUID

import pytest

from libs.common.db import Connection
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
CANCEL, RESUME = "/subscription/cancel", "/subscription/resume"


async def at_stripe(emulator: Emulator, subscription_id: str) -> Any:
    return await emulator.api(f"/subscriptions/{subscription_id}")


async def test_cancelling_twice_ends_with_the_period_and_is_known_at_once(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    subscription_id = await emulator.pay(await billing.session(user_id))

    answers = [await billing.post(user_id, CANCEL) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["plan"], told["status"], told["cancel_at_period_end"]) == (
            *("pro", "active"),
            True,
        )
        assert told == {**await billing.status(user_id), "as_of": told["as_of"]}
    assert (await at_stripe(emulator, subscription_id))["cancel_at_period_end"] is True
    changes = await billing.wait_for_changes(user_id)
    assert [change.cancel_at_period_end for change in changes] == [False, True]


async def test_what_was_cancelled_is_over_when_its_period_is(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.pay(await billing.session(user_id))
    await billing.post(user_id, CANCEL)

    await emulator.control("/clock/advance", seconds=32 * 86_400)

    await billing.wait_for(user_id, plan="basic", status="canceled")
    assert [each["status"] for each in (await billing.invoices(user_id))["data"]] == ["paid"]


@pytest.mark.parametrize("planned_by", ["us", "period_end", "moment"])
async def test_resuming_twice_takes_back_whatever_end_was_planned(
    billing: Billing, emulator: Emulator, user_id: UUID, planned_by: str
) -> None:
    subscription_id = await emulator.pay(await billing.session(user_id))
    now = (await at_stripe(emulator, subscription_id))["created"]
    plans: dict[str, dict[str, str]] = {
        "period_end": {"cancel_at_period_end": "true"},
        "moment": {"cancel_at": str(now + 5 * 86_400)},
    }
    if planned_by in plans:
        await emulator.client.post(
            f"/v1/subscriptions/{subscription_id}",
            data=plans[planned_by],
            headers={"authorization": "Bearer sk_test_anything"},
        )
        await billing.wait_for(user_id, cancel_at_period_end=True)
    else:
        await billing.post(user_id, CANCEL)

    for _ in range(2):
        answer = await billing.post(user_id, RESUME)
        assert (answer.status_code, answer.json()["cancel_at_period_end"]) == (200, False)

    assert (await at_stripe(emulator, subscription_id))["cancel_at"] is None
    assert (await billing.status(user_id))["plan"] == "pro"


@pytest.mark.parametrize(
    ("path", "code"), [(CANCEL, "nothing_to_cancel"), (RESUME, "nothing_to_resume")]
)
@pytest.mark.parametrize("life", ["none", "unpaid session", "incomplete", "over", "over unheard"])
async def test_without_a_subscription_there_is_nothing_to_change(
    billing: Billing, emulator: Emulator, user_id: UUID, life: str, path: str, code: str
) -> None:
    session_id = "" if life == "none" else await billing.session(user_id)
    if life == "incomplete":
        await emulator.pay(session_id, outcome="incomplete")
    if life.startswith("over"):
        subscription_id = await emulator.pay(session_id)
        await billing.wait_for(user_id, plan="pro")
        await emulator.control("/webhooks", mode="drop" if "unheard" in life else "normal")
        await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")

    answer = await billing.post(user_id, path)

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert (await billing.status(user_id))["plan"] == "basic"


@pytest.mark.parametrize("path", [CANCEL, RESUME])
@pytest.mark.parametrize("fault", [429, 503, "hang"])
async def test_without_stripe_nothing_changes_and_the_answer_comes_in_time(
    billing: Billing, emulator: Emulator, user_id: UUID, path: str, fault: int | str
) -> None:
    """B10: a typed 503 in less than 10 s."""
    await emulator.pay(await billing.session(user_id))
    before = await billing.wait_for(user_id, plan="pro")
    await emulator.control("/faults", status=fault, times=100)

    started = time.monotonic()
    answer = await billing.post(user_id, path)

    assert time.monotonic() - started < 10
    assert (answer.status_code, answer.json()["code"]) == (503, "billing_unavailable")
    await emulator.client.delete("/_emulator/faults")
    after = await billing.status(user_id)
    assert {**after, "as_of": None} == {**before, "as_of": None}  # webhooks are still coming in
    assert (await billing.post(user_id, path)).status_code == 200


async def test_nobody_cancels_for_another(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    subscription_id = await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")

    answer = await billing.post(UUID(int=user_id.int + 1), CANCEL)

    assert answer.status_code == 409
    assert (await at_stripe(emulator, subscription_id))["cancel_at"] is None

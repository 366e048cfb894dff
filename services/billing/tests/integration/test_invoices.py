"""Our copies of invoices: what people are shown, and what becomes of payments."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing.actions.exports import export_billing
from services.billing.applier import Applier
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


async def subscribed(billing: Billing, emulator: Emulator, user_id: UUID) -> str:
    subscription_id = await emulator.pay(await billing.session(user_id))
    await wait_for_invoice(billing, user_id, status="paid")
    await billing.wait_for(user_id, plan="pro")
    return subscription_id


async def wait_for_invoice(billing: Billing, user_id: UUID, **wanted: Any) -> Any:
    """Return the newest invoice once it has the wanted members."""

    async def probe() -> Any:
        data = (await billing.invoices(user_id))["data"]
        return data[0] if data and wanted.items() <= data[0].items() else None

    return await eventually(probe)


async def test_a_payment_is_an_invoice_with_all_that_people_ask_for(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    subscription_id = await subscribed(billing, emulator, user_id)

    (invoice,) = (await billing.invoices(user_id))["data"]

    item = (await emulator.api(f"/subscriptions/{subscription_id}"))["items"]["data"][0]
    told = await emulator.api(f"/invoices/{invoice['id']}")
    url, pdf = (invoice.pop(name) for name in ("hosted_url", "pdf_url"))
    for page in (url, pdf):
        assert told["number"] in (await emulator.client.get(page)).text
    periods = [invoice.pop(f"period_{end}") for end in ("start", "end")]
    assert periods == [_iso(item[f"current_period_{end}"]) for end in ("start", "end")]
    assert invoice == {
        "id": told["id"],
        "number": told["number"],
        "status": "paid",
        "currency": "usd",
        "total": 1200,
        "amount_paid": 1200,
        "refunded_amount": 0,
        "disputed": False,
        "dispute_status": None,
        "created_at": _iso(told["created"]),
    }


def _iso(unix_time: int) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat().replace("+00:00", "Z")


async def test_pages_hold_every_invoice_once_newest_first_without_asking_stripe(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await subscribed(billing, emulator, user_id)
    await emulator.control("/clock/advance", seconds=4 * 31 * 86_400)

    async def five() -> bool:
        return len((await billing.invoices(user_id))["data"]) == 5

    await eventually(five)
    await emulator.control("/faults", status=500, times=1000)
    pages = [await billing.invoices(user_id, limit=2)]
    while pages[-1]["has_more"]:
        pages.append(await billing.invoices(user_id, limit=2, cursor=pages[-1]["next_cursor"]))

    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert pages[-1]["next_cursor"] is None
    listed = [each for page in pages for each in page["data"]]
    assert listed == (await billing.invoices(user_id))["data"]
    assert [each["created_at"] for each in listed] == sorted(
        (each["created_at"] for each in listed), reverse=True
    )


async def test_nobody_sees_anothers_invoices_whatever_the_cursor(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    """Z1: a cursor of another's is as good as one that does not exist."""
    other = UUID(int=user_id.int + 1)
    await subscribed(billing, emulator, other)
    await emulator.control("/clock/advance", seconds=86_400)
    await subscribed(billing, emulator, user_id)
    (theirs,) = (await billing.invoices(user_id))["data"]
    (own,) = (await billing.invoices(other))["data"]

    pages = [await billing.invoices(other, cursor=each) for each in (theirs["id"], "in_unknown")]

    assert own["id"] != theirs["id"]
    assert pages == [{"data": [], "next_cursor": None, "has_more": False}] * 2


async def test_lost_webhooks_of_invoices_are_made_up_for_by_the_sweep(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await subscribed(billing, emulator, user_id)
    await emulator.control("/webhooks", mode="drop")
    await emulator.control("/clock/advance", seconds=32 * 86_400)
    assert len((await billing.invoices(user_id))["data"]) == 1

    async def is_swept() -> bool:
        # Each time: webhooks of before may be on their way still, and make the copy young again.
        await conn.execute("UPDATE subscription SET as_of = as_of - interval '2 hours'")
        await conn.execute("UPDATE customer SET swept_at = NULL")
        return await Applier(billing.res).sweep() == 1

    assert await eventually(is_swept)
    assert len((await billing.invoices(user_id))["data"]) == 2


async def test_a_full_refund_of_the_period_ends_pro_and_one_that_fails_gives_it_back(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    subscription_id = await subscribed(billing, emulator, user_id)
    charge_id = await emulator.charge_of(subscription_id)

    await emulator.refund(charge_id, amount="1199")
    await wait_for_invoice(billing, user_id, refunded_amount=1199)
    assert (await billing.status(user_id))["plan"] == "pro"
    last = await emulator.refund(charge_id)
    await wait_for_invoice(billing, user_id, refunded_amount=1200, status="paid")

    await billing.wait_for(user_id, plan="basic", status="active")
    refused = await billing.subscribe(user_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "subscription_exists")
    assert "refunded" in refused.json()["detail"]
    await emulator.control(f"/refunds/{last}/fail")
    await billing.wait_for(user_id, plan="pro", status="active")
    assert (await wait_for_invoice(billing, user_id, refunded_amount=1199))["amount_paid"] == 1200


async def test_the_next_payment_after_a_refund_makes_pro_again(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    subscription_id = await subscribed(billing, emulator, user_id)
    await emulator.refund(await emulator.charge_of(subscription_id))
    await billing.wait_for(user_id, plan="basic")

    await emulator.control("/clock/advance", seconds=32 * 86_400)

    await billing.wait_for(user_id, plan="pro", status="active")


@pytest.mark.parametrize(
    ("ends", "plan"), [("won", "pro"), ("lost", "basic"), ("under_review", "basic")]
)
async def test_a_dispute_ends_pro_until_it_is_won(
    billing: Billing, emulator: Emulator, user_id: UUID, ends: str, plan: str
) -> None:
    """Its events name the payment and no customer."""
    charge_id = await emulator.charge_of(await subscribed(billing, emulator, user_id))

    dispute = await emulator.control(f"/charges/{charge_id}/dispute")
    await billing.wait_for(user_id, plan="basic", status="active")
    await wait_for_invoice(billing, user_id, disputed=True, dispute_status="needs_response")
    await emulator.control(f"/disputes/{dispute['id']}", status=ends)
    await wait_for_invoice(billing, user_id, disputed=True, dispute_status=ends)

    await billing.wait_for(user_id, plan=plan, status="active")
    told = ["pro", "basic"] + ["pro"] * (plan == "pro")

    async def announced() -> bool:
        return [change.plan for change in await billing.changes(user_id)] == told

    await eventually(announced)


async def test_a_mere_question_of_the_bank_takes_nothing_away(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    charge_id = await emulator.charge_of(await subscribed(billing, emulator, user_id))

    await emulator.control(f"/charges/{charge_id}/dispute", status="warning_needs_response")

    await wait_for_invoice(billing, user_id, disputed=True)
    assert (await billing.status(user_id))["plan"] == "pro"


async def test_an_event_of_a_payment_that_nobody_made_is_stored_and_done(
    billing: Billing, conn: Connection
) -> None:
    about = {"id": "du_1", "object": "dispute", "payment_intent": "pi_unknown"}
    event = {"id": "evt_1", "type": "charge.dispute.created", "data": {"object": about}}

    assert (await billing.webhook(json.dumps(event))).status_code == 200

    row = await conn.fetchrow("SELECT customer_id, applied_at FROM stripe_event")
    assert row is not None
    assert (row["customer_id"], row["applied_at"] is None) == (None, False)


async def test_the_archive_holds_the_invoices(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    """Z5: and nobody else's."""
    await subscribed(billing, emulator, user_id)
    other = UUID(int=user_id.int + 1)
    await subscribed(billing, emulator, other)

    archive = json.loads(await export_billing(billing.res, user_id))

    (invoice,) = archive["invoices"]
    assert invoice["id"] == (await billing.invoices(user_id))["data"][0]["id"]
    assert invoice["amount_paid"] == 1200

"""The way to Stripe's portal, asked for or offered in a refusal."""

import time
from uuid import UUID

import pytest

from services.billing.payments import connection
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


async def shown_by(emulator: Emulator, url: str) -> str:
    page = await emulator.client.get(url)
    assert page.status_code == 200
    return page.text


async def test_a_customer_gets_a_portal_of_their_own_that_leads_back(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.pay(await billing.session(user_id))
    other = UUID(int=user_id.int + 1)
    await billing.session(other)

    answers = [await billing.post(each, "/subscription/portal") for each in (user_id, other)]

    assert [answer.status_code for answer in answers] == [200, 200]
    pages = [await shown_by(emulator, answer.json()["portal_url"]) for answer in answers]
    assert "$12.00 per month" in pages[0]
    assert "There are no subscriptions." in pages[1]
    back = f"{billing.res.settings.public_url}/subscription/returned"
    assert f'href="{back}"' in pages[0]
    assert "counts within seconds" in (await billing.http.get("/subscription/returned")).text


async def test_who_never_subscribed_is_told_to(billing: Billing, user_id: UUID) -> None:
    answer = await billing.post(user_id, "/subscription/portal")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_customer")
    assert "/subscribe/pro" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("active", "already_subscribed"),
        ("unpaid", "payment_overdue"),
        ("incomplete", "payment_overdue"),
        ("paused", "subscription_exists"),
    ],
)
async def test_who_may_not_subscribe_gets_the_portals_link(
    billing: Billing, emulator: Emulator, user_id: UUID, status: str, code: str
) -> None:
    subscription_id = await emulator.pay(await billing.session(user_id))
    await emulator.control(f"/subscriptions/{subscription_id}", status=status)
    await billing.wait_for(user_id, status=status)

    answer = await billing.subscribe(user_id)

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert "$12.00 per month" in await shown_by(emulator, answer.json()["portal_url"])


@pytest.mark.parametrize("fault", [429, 500, "hang"])
async def test_a_stripe_that_does_not_answer_takes_the_link_from_the_refusal_and_no_more(
    billing: Billing, emulator: Emulator, user_id: UUID, fault: int | str
) -> None:
    """B10: 409 as ever, and 503 for who wants just the link, each in less than 10 s."""
    await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")
    await emulator.control("/faults", status=fault, times=100, path="/v1/billing_portal")

    for path, expected in (
        ("/subscribe/pro", (409, "already_subscribed")),
        ("/subscription/portal", (503, "billing_unavailable")),
    ):
        started = time.monotonic()
        answer = await billing.post(user_id, path)
        assert time.monotonic() - started < 10
        assert (answer.status_code, answer.json()["code"]) == expected
        assert "portal_url" not in answer.json()


async def test_a_customer_deleted_at_stripe_is_none(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await billing.session(user_id)
    (customer,) = (await emulator.api("/customers"))["data"]
    await emulator.client.delete(
        f"/v1/customers/{customer['id']}", headers={"authorization": "Bearer sk_test_anything"}
    )

    answer = await billing.post(user_id, "/subscription/portal")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_customer")


def test_two_tries_of_a_call_fit_into_the_time_of_an_answer() -> None:
    assert 2 * connection.TIMEOUT_S < 9

import asyncio

import pytest
import stripe

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    Receiver,
    eventually,
    new_customer,
    open_session,
)

pytestmark = SDK_WARNING


async def test_the_async_sdk_takes_a_session_from_open_to_paid(
    emulator: Emulator, async_sdk: stripe.StripeClient
) -> None:
    session = await async_sdk.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "success_url": "http://app.test/done?session_id={CHECKOUT_SESSION_ID}",
            "line_items": [{"price": "price_pro_monthly", "quantity": 1}],
            "client_reference_id": "user-1",
            "customer_email": "ada@example.com",
            "metadata": {"user_id": "user-1"},
            "subscription_data": {"metadata": {"user_id": "user-1"}},
        },
        {"idempotency_key": "checkout-async"},
    )
    assert (session.status, session.payment_status, session.amount_total) == (
        "open",
        "unpaid",
        1200,
    )
    assert session.url == f"{emulator.url}/pay/{session.id}"

    emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})

    done = await async_sdk.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["subscription.latest_invoice", "customer", "line_items"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.client_reference_id == "user-1"
    assert done.customer.email == "ada@example.com"  # type: ignore[union-attr]
    subscription = done.subscription
    assert isinstance(subscription, stripe.Subscription)
    assert subscription.status == "active"
    assert subscription.metadata["user_id"] == "user-1"
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.amount_paid) == ("paid", 1200)
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert done.line_items is not None
    assert done.line_items.data[0].description == "Thoughtflow Pro"


def test_paying_announces_each_step_once(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    customer = new_customer(sdk)
    session = open_session(sdk, customer=customer)

    first = emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})
    second = emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})

    assert (first["changed"], second["changed"]) == (True, False)
    assert first["session"]["subscription"] == second["session"]["subscription"]
    assert len(sdk.v1.subscriptions.list({"customer": customer}).data) == 1
    eventually(lambda: "checkout.session.completed" in receiver.types(customer))
    assert sorted(receiver.types(customer)) == [
        "charge.succeeded",
        "checkout.session.completed",
        "customer.created",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_a_declined_card_leaves_the_session_open(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    customer = new_customer(sdk)
    session = open_session(sdk, customer=customer)

    emulator.control("POST", f"/pay/{session.id}", {"outcome": "declined"})

    assert sdk.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert sdk.v1.subscriptions.list({"customer": customer}).data == []


def test_an_incomplete_payment_makes_no_active_subscription(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    session = open_session(sdk, customer=new_customer(sdk))

    emulator.control("POST", f"/pay/{session.id}", {"outcome": "incomplete"})

    done = sdk.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "invoice"]})
    assert (done.status, done.payment_status) == ("complete", "unpaid")
    assert done.subscription.status == "incomplete"  # type: ignore[union-attr]
    assert done.invoice.status == "open"  # type: ignore[union-attr]


def test_an_expired_session_cannot_be_paid_or_expired_again(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    session = open_session(sdk)

    assert sdk.v1.checkout.sessions.expire(session.id).status == "expired"

    paid = emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})
    assert (paid["changed"], paid["session"]["status"]) == (False, "expired")
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        sdk.v1.checkout.sessions.expire(session.id)
    assert eventually(lambda: receiver.types(session.id)) == ["checkout.session.expired"]


def test_a_trial_costs_nothing_until_it_ends(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    session = open_session(
        sdk, customer=new_customer(sdk), subscription_data={"trial_period_days": 7}
    )

    paid = emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})["session"]

    subscription = sdk.v1.subscriptions.retrieve(
        paid["subscription"], {"expand": ["latest_invoice"]}
    )
    assert paid["payment_status"] == "no_payment_required"
    assert subscription.status == "trialing"
    assert subscription["items"].data[0].current_period_end == subscription.trial_end
    assert subscription.latest_invoice.total == 0  # type: ignore[union-attr]


async def test_twenty_creations_with_one_key_make_one_session(
    sdk: stripe.StripeClient, async_sdk: stripe.StripeClient
) -> None:
    customer = new_customer(sdk)

    async def create() -> str:
        session = await async_sdk.v1.checkout.sessions.create_async(
            {
                "mode": "subscription",
                "success_url": "http://app.test/",
                "line_items": [{"price": "price_pro_monthly", "quantity": 1}],
                "customer": customer,
            },
            {"idempotency_key": f"twenty-{customer}"},
        )
        return session.id

    ids = await asyncio.gather(*(create() for _ in range(20)))

    assert len(set(ids)) == 1
    assert len(sdk.v1.checkout.sessions.list({"customer": customer}).data) == 1


@pytest.mark.parametrize(("duration", "later"), [("once", 1200), ("forever", 900)])
def test_a_coupon_is_taken_off_the_first_payment_or_all(
    emulator: Emulator, sdk: stripe.StripeClient, duration: str, later: int
) -> None:
    coupon = sdk.v1.coupons.create({"amount_off": 300, "currency": "usd", "duration": duration})
    session = open_session(sdk, customer=new_customer(sdk), discounts=[{"coupon": coupon.id}])
    paid = emulator.control("POST", f"/pay/{session.id}", {"outcome": "paid"})

    emulator.advance(days=32)

    assert (session.amount_subtotal, session.amount_total) == (1200, 900)
    subscription = paid["session"]["subscription"]
    renewal, first = sdk.v1.invoices.list({"subscription": subscription}).data
    assert (first.subtotal, first.amount_paid, renewal.amount_paid) == (1200, 900, later)
    (charge, *_) = sdk.v1.charges.list({"customer": str(first.customer)}).data
    assert charge.amount == later


def test_a_coupon_excludes_codes(sdk: stripe.StripeClient) -> None:
    coupon = sdk.v1.coupons.create({"percent_off": 50, "duration": "once"})

    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        open_session(sdk, discounts=[{"coupon": coupon.id}], allow_promotion_codes=True)

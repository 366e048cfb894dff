from datetime import UTC, datetime

import pytest
import stripe

from deploy.local.stripe.periods import period_end
from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    Receiver,
    eventually,
    new_customer,
    open_session,
    subscribe,
)

pytestmark = SDK_WARNING


def unix(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, 12, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "interval", "count", "anchor", "end"),
    [
        (unix(2026, 11, 23), "month", 1, unix(2026, 11, 23), unix(2026, 12, 23)),
        (unix(2026, 12, 23), "month", 1, unix(2026, 11, 23), unix(2027, 1, 23)),
        (unix(2027, 1, 31), "month", 1, unix(2027, 1, 31), unix(2027, 2, 28)),
        (unix(2027, 2, 28), "month", 1, unix(2027, 1, 31), unix(2027, 3, 31)),
        (unix(2028, 2, 29), "year", 1, unix(2028, 2, 29), unix(2029, 2, 28)),
        (unix(2026, 11, 23), "month", 3, unix(2026, 11, 23), unix(2027, 2, 23)),
        (unix(2026, 12, 28), "week", 2, unix(2026, 12, 28), unix(2027, 1, 11)),
    ],
)
def test_a_period_ends_on_the_anchors_day(
    start: int, interval: str, count: int, anchor: int, end: int
) -> None:
    assert period_end(start, interval=interval, count=count, anchor=anchor) == end


def states(sdk: stripe.StripeClient, subscription: stripe.Subscription) -> tuple[str, list[str]]:
    """Return the subscription's status and its invoices', newest first."""
    found = sdk.v1.invoices.list({"subscription": subscription.id}).data
    now = sdk.v1.subscriptions.retrieve(subscription.id)
    return now.status, [str(invoice.status) for invoice in found]


def fail_card(emulator: Emulator, subscription: stripe.Subscription, *, works: bool) -> None:
    emulator.control("POST", f"/customers/{subscription.customer}/card", {"works": works})


def test_each_period_that_ends_is_paid_and_announced(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    subscription = subscribe(emulator)
    first_end = subscription["items"].data[0].current_period_end

    emulator.advance(days=70)

    renewed = sdk.v1.subscriptions.retrieve(subscription.id)
    item = renewed["items"].data[0]
    assert item.current_period_start < emulator.control("GET", "/clock")["now"]
    assert item.current_period_end > emulator.control("GET", "/clock")["now"]
    assert states(sdk, subscription) == ("active", ["paid"] * 3)
    eventually(lambda: receiver.types(subscription.id).count("invoice.paid") == 3)
    eventually(lambda: receiver.types(subscription.id).count("customer.subscription.updated") == 2)
    paid = [e for e in receiver.events(subscription.id) if e["type"] == "invoice.paid"]
    assert paid[1]["created"] == first_end
    assert paid[1]["data"]["object"]["billing_reason"] == "subscription_cycle"
    assert paid[1]["data"]["object"]["lines"]["data"][0]["period"]["start"] == first_end


@pytest.mark.parametrize("way", ["cancel_at_period_end", "cancel_at"])
def test_a_planned_end_comes_at_its_moment_and_costs_nothing_more(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver, way: str
) -> None:
    subscription = subscribe(emulator)
    at = emulator.control("GET", "/clock")["now"] + 5 * 86_400
    sdk.v1.subscriptions.update(
        subscription.id, {"cancel_at_period_end": True} if way != "cancel_at" else {"cancel_at": at}
    )

    emulator.advance(days=4)
    assert states(sdk, subscription) == ("active", ["paid"])
    emulator.advance(days=30)

    ended = sdk.v1.subscriptions.retrieve(subscription.id)
    assert states(sdk, subscription) == ("canceled", ["paid"])
    period = subscription["items"].data[0].current_period_end
    assert ended.ended_at == (at if way == "cancel_at" else period)
    eventually(lambda: "customer.subscription.deleted" in receiver.types(subscription.id))


def test_a_resumed_subscription_renews(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    subscription = subscribe(emulator)
    planned = sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert planned.cancel_at == subscription["items"].data[0].current_period_end
    resumed = sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (resumed.cancel_at, resumed.canceled_at) == (None, None)

    emulator.advance(days=32)

    assert states(sdk, subscription) == ("active", ["paid", "paid"])


def test_an_end_planned_as_a_moment_is_taken_back_as_one(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    at = emulator.control("GET", "/clock")["now"] + 5 * 86_400
    sdk.v1.subscriptions.update(subscription.id, {"cancel_at": at})

    still = sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    gone = sdk.v1.subscriptions.update(subscription.id, {"cancel_at": ""})

    assert (still.cancel_at, gone.cancel_at) == (at, None)


def test_a_failing_card_leads_to_past_due_then_unpaid_then_canceled(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    subscription = subscribe(emulator)
    fail_card(emulator, subscription, works=False)

    emulator.advance(days=32)
    assert states(sdk, subscription) == ("past_due", ["open", "paid"])
    emulator.advance(days=10)
    assert states(sdk, subscription) == ("unpaid", ["open", "paid"])
    failed = sdk.v1.invoices.list({"subscription": subscription.id, "status": "open"}).data[0]
    assert (failed.attempt_count, failed.next_payment_attempt) == (4, None)
    emulator.advance(days=30)

    assert states(sdk, subscription) == ("canceled", ["void", "paid"])
    eventually(lambda: "customer.subscription.deleted" in receiver.types(subscription.id))
    assert receiver.types(subscription.id).count("invoice.payment_failed") == 4


@pytest.mark.parametrize("days", [32, 42])
def test_a_new_card_pays_what_is_open_and_makes_it_active_again(
    emulator: Emulator, sdk: stripe.StripeClient, days: int
) -> None:
    subscription = subscribe(emulator)
    fail_card(emulator, subscription, works=False)
    emulator.advance(days=days)

    fail_card(emulator, subscription, works=True)

    assert states(sdk, subscription) == ("active", ["paid", "paid"])


def test_a_first_payment_that_never_comes_expires_after_23_hours(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator, outcome="incomplete")

    emulator.advance(days=22 / 24)
    assert states(sdk, subscription) == ("incomplete", ["open"])
    emulator.advance(days=2 / 24)

    assert states(sdk, subscription) == ("incomplete_expired", ["void"])


def test_a_trial_that_ends_is_charged(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    subscription = subscribe(emulator, subscription_data={"trial_period_days": 7})

    emulator.advance(days=8)

    assert states(sdk, subscription) == ("active", ["paid", "paid"])
    newest = sdk.v1.invoices.list({"subscription": subscription.id}).data[0]
    assert newest.amount_paid == 1200


def test_a_session_expires_after_a_day(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    session = open_session(sdk, customer=new_customer(sdk))

    emulator.advance(days=0.9)
    assert sdk.v1.checkout.sessions.retrieve(session.id).status == "open"
    emulator.advance(days=0.2)

    assert sdk.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert eventually(lambda: receiver.types(session.id)) == ["checkout.session.expired"]

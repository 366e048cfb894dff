import json
from collections.abc import Iterator

import pytest
import stripe

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    SECRET,
    Emulator,
    Receiver,
    eventually,
    new_customer,
    subscribe,
)

pytestmark = SDK_WARNING


@pytest.fixture(autouse=True)
def _undisturbed(emulator: Emulator, receiver: Receiver) -> Iterator[None]:
    """Begin and end with nothing on its way."""
    yield
    emulator.control("POST", "/webhooks", {"mode": "normal"})
    emulator.control("POST", "/webhooks/release")
    settled(emulator)
    receiver.received.clear()


def settled(emulator: Emulator) -> None:
    eventually(
        lambda: (
            not {"pending", "gathered"} & emulator.control("GET", "/webhooks")["deliveries"].keys()
        )
    )


def three_events(emulator: Emulator) -> str:
    """Cause customer.created, .updated and .deleted; return the customer's id."""
    sdk = emulator.sdk()
    customer = new_customer(sdk)
    sdk.v1.customers.update(customer, {"name": "Ada"})
    sdk.v1.customers.delete(customer)
    return customer


IN_ORDER = ["customer.created", "customer.updated", "customer.deleted"]


def test_the_sdk_accepts_the_signature_and_refuses_any_other(
    emulator: Emulator, receiver: Receiver
) -> None:
    sdk = emulator.sdk()
    subscription = subscribe(emulator)
    eventually(lambda: "checkout.session.completed" in receiver.types(subscription.id))

    for body, headers in receiver.received:
        event = sdk.construct_event(body, headers["stripe-signature"], SECRET)
        assert event.api_version == "2026-10-28.endive"
        assert event.object == "event"
        with pytest.raises(stripe.SignatureVerificationError):
            sdk.construct_event(body, headers["stripe-signature"], "whsec_other")
        with pytest.raises(stripe.SignatureVerificationError):
            sdk.construct_event(body + b" ", headers["stripe-signature"], SECRET)


def test_the_signature_follows_real_time_even_if_the_clock_was_advanced(
    emulator: Emulator, receiver: Receiver
) -> None:
    emulator.advance(days=1)
    customer = new_customer(emulator.sdk())
    eventually(lambda: receiver.types(customer))

    body, headers = receiver.received[-1]
    stamp = int(headers["stripe-signature"].split(",")[0].removeprefix("t="))
    assert json.loads(body)["created"] - stamp > 80_000


def test_events_arrive_in_their_order_with_what_changed(
    emulator: Emulator, receiver: Receiver
) -> None:
    customer = three_events(emulator)

    eventually(lambda: len(receiver.types(customer)) == 3)

    assert receiver.types(customer) == IN_ORDER
    assert receiver.events(customer)[1]["data"]["previous_attributes"] == {"name": None}


def test_a_refused_event_is_tried_again_until_it_is_accepted(
    emulator: Emulator, receiver: Receiver
) -> None:
    receiver.answers[:] = [500, 404]
    customer = new_customer(emulator.sdk())

    eventually(lambda: len(receiver.types(customer)) == 3)
    settled(emulator)

    first, second, third = receiver.events(customer)
    assert first["id"] == second["id"] == third["id"]
    attempts = emulator.control("GET", "/webhooks")["attempts"]
    assert [a["status"] for a in attempts if a["event_id"] == first["id"]] == [200, 404, 500]
    assert emulator.sdk().v1.events.retrieve(first["id"]).pending_webhooks == 0


def test_each_event_comes_as_often_as_the_mode_says(emulator: Emulator, receiver: Receiver) -> None:
    emulator.control("POST", "/webhooks", {"mode": "duplicate", "duplicates": 2})
    customer = new_customer(emulator.sdk())

    settled(emulator)

    assert receiver.types(customer) == ["customer.created"] * 3
    assert len({event["id"] for event in receiver.events(customer)}) == 1


def test_reverse_sends_what_happens_together_backwards(
    emulator: Emulator, receiver: Receiver
) -> None:
    emulator.control("POST", "/webhooks", {"mode": "reverse"})
    customer = three_events(emulator)

    settled(emulator)

    assert receiver.types(customer) == IN_ORDER[::-1]


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffle_is_repeatable_by_its_seed(
    emulator: Emulator, receiver: Receiver, seed: int
) -> None:
    emulator.control("POST", "/webhooks", {"mode": "shuffle", "seed": seed})
    first, second = three_events(emulator), None
    settled(emulator)
    second = three_events(emulator)
    settled(emulator)

    assert receiver.types(first) == receiver.types(second)
    assert sorted(receiver.types(first)) == sorted(IN_ORDER)
    assert receiver.types(first) != IN_ORDER


@pytest.mark.parametrize("order", ["normal", "reverse"])
def test_held_events_wait_for_their_release(
    emulator: Emulator, receiver: Receiver, order: str
) -> None:
    emulator.control("POST", "/webhooks", {"mode": "hold"})
    customer = three_events(emulator)
    assert emulator.control("GET", "/webhooks")["deliveries"]["held"] == 3
    assert receiver.types(customer) == []

    assert emulator.control("POST", "/webhooks/release", {"order": order}) == {"released": 3}

    settled(emulator)
    assert receiver.types(customer) == (IN_ORDER if order == "normal" else IN_ORDER[::-1])


def test_a_dropped_event_comes_only_if_it_is_sent_again(
    emulator: Emulator, receiver: Receiver
) -> None:
    emulator.control("POST", "/webhooks", {"mode": "drop"})
    lost = new_customer(emulator.sdk())
    emulator.control("POST", "/webhooks", {"mode": "normal"})
    seen = new_customer(emulator.sdk())
    eventually(lambda: receiver.types(seen))
    assert receiver.types(lost) == []
    events = emulator.sdk().v1.events.list({"type": "customer.created", "limit": 2}).data

    assert emulator.control("POST", f"/webhooks/{events[1].id}/resend") == {"queued": 1}

    assert eventually(lambda: receiver.types(lost)) == ["customer.created"]


def test_a_delay_holds_an_event_back_for_so_long(emulator: Emulator, receiver: Receiver) -> None:
    emulator.control("POST", "/webhooks", {"mode": "normal", "delay_s": 0.6})
    late = new_customer(emulator.sdk())
    emulator.control("POST", "/webhooks", {"mode": "normal"})
    soon = new_customer(emulator.sdk())

    settled(emulator)

    arrived = [json.loads(body)["data"]["object"]["id"] for body, _ in receiver.received]
    assert arrived[-2:] == [soon, late]


def test_an_endpoint_made_by_the_api_hears_only_what_it_asked_for(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    with Receiver() as other:
        made = sdk.v1.webhook_endpoints.create(
            {"url": other.url, "enabled_events": ["customer.deleted"]}
        )
        customer = three_events(emulator)

        assert eventually(lambda: other.types(customer)) == ["customer.deleted"]
        body, headers = other.received[0]
        assert made.secret is not None
        event = sdk.construct_event(body, headers["stripe-signature"], made.secret)
        assert event.type == "customer.deleted"
        listed = sdk.v1.webhook_endpoints.list().data
        assert made.id in [endpoint.id for endpoint in listed]
        assert not any("secret" in endpoint.to_dict() for endpoint in listed)
        sdk.v1.webhook_endpoints.delete(made.id)
        three_events(emulator)
        settled(emulator)
        assert len(other.received) == 1


def test_one_dead_endpoint_does_not_hold_up_the_other(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    dead = sdk.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/hook", "enabled_events": ["*"]}
    )

    customer = three_events(emulator)

    eventually(lambda: len(receiver.types(customer)) == 3, within_s=3)
    event = sdk.v1.events.list({"limit": 1}).data[0]
    assert event.pending_webhooks >= 1
    sdk.v1.webhook_endpoints.delete(dead.id)

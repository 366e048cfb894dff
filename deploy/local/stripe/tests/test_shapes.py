"""The judge of shapes is the SDK: its annotations say which keys an object has."""

import typing
from typing import Any

import pytest
import stripe
from stripe._object_classes import get_object_class

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    new_customer,
    open_session,
    subscribe,
)

pytestmark = SDK_WARNING

# What Stripe shows only when it is expanded, or only of a deleted object, or not in test mode.
MAY_BE_ABSENT = {
    "charge": {"refunds"},
    "checkout.session": {"line_items"},
    "customer": {
        "cash_balance",
        "invoice_credit_balance",
        "sources",
        "subscriptions",
        "tax",
        "tax_ids",
    },
    "invoice": {"confirmation_secret", "payments"},
    "plan": {"tiers"},
    "price": {"currency_options", "tiers"},
    "webhook_endpoint": {"secret"},
}


def check(cls: type[Any], body: dict[str, Any], where: str) -> None:
    hints = {
        key: str(hint)
        for key, hint in cls.__annotations__.items()
        if not key.startswith("_") and key != "OBJECT_NAME"
    }
    assert not body.keys() - hints.keys(), f"{where} has keys that the SDK does not know"
    optional = {key for key, hint in hints.items() if "Optional[" in hint or "NoneType" in hint}
    assert not hints.keys() - optional - body.keys(), f"{where} lacks keys that are never absent"
    if isinstance(body.get("object"), str):
        absent = hints.keys() - body.keys() - {"deleted"}
        assert not absent - MAY_BE_ABSENT.get(body["object"], set()), f"{where} lacks keys"
    for key, value in body.items():
        for kind in (int, bool, str):
            if hints[key] == str(kind):
                assert type(value) is kind, f"{where}.{key} is {value!r}"
        if value is None:
            assert key in optional, f"{where}.{key} must not be null"
        check_value(cls, key, value, f"{where}.{key}")


def check_value(cls: type[Any], key: str, value: Any, where: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_value(cls, key, item, f"{where}[{index}]")
    elif isinstance(value, dict) and value.get("object") == "list":
        assert value.keys() == {"object", "data", "has_more", "url"}
        check_value(cls, key, value["data"], where)
    elif isinstance(value, dict) and "object" in value and key != "data":
        check(get_object_class("V1", value["object"]), value, where)
    elif isinstance(value, dict) and key in cls._inner_class_types:
        check(cls._inner_class_types[key], value, where)


def test_the_check_itself_sees_a_missing_an_unknown_and_a_null_key(emulator: Emulator) -> None:
    product = emulator.raw("GET", "/v1/products/prod_pro")

    with pytest.raises(AssertionError, match="never absent"):
        check(stripe.Product, {k: v for k, v in product.items() if k != "name"}, "product")
    with pytest.raises(AssertionError, match="does not know"):
        check(stripe.Product, product | {"colour": "red"}, "product")
    with pytest.raises(AssertionError):
        check(stripe.Product, product | {"name": None}, "product")


@pytest.mark.parametrize("outcome", ["paid", "incomplete"])
def test_every_object_has_the_keys_that_the_sdk_expects(emulator: Emulator, outcome: str) -> None:
    subscription = subscribe(emulator, outcome=outcome)
    sessions = emulator.raw("GET", "/v1/checkout/sessions", subscription=subscription.id)

    check(stripe.Subscription, emulator.raw("GET", f"/v1/subscriptions/{subscription.id}"), "sub")
    check(
        stripe.SubscriptionItem,
        emulator.raw("GET", f"/v1/subscriptions/{subscription.id}")["items"]["data"][0],
        "item",
    )
    check(stripe.Invoice, emulator.raw("GET", f"/v1/invoices/{subscription.latest_invoice}"), "inv")
    check(stripe.Customer, emulator.raw("GET", f"/v1/customers/{subscription.customer}"), "cus")
    check(stripe.checkout.Session, sessions["data"][0], "session")


def test_an_open_session_and_its_expansions_have_the_expected_keys(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    session = open_session(sdk, customer=new_customer(sdk))

    body = emulator.raw("GET", f"/v1/checkout/sessions/{session.id}", **{"expand[]": "line_items"})

    check(stripe.checkout.Session, body, "session")
    check(stripe.LineItem, body["line_items"]["data"][0], "line")


def test_catalog_portal_and_endpoint_objects_have_the_expected_keys(emulator: Emulator) -> None:
    customer = new_customer(emulator.sdk())
    portal = emulator.raw("POST", "/v1/billing_portal/sessions", customer=customer)
    endpoint = emulator.raw(
        "POST",
        "/v1/webhook_endpoints",
        **{"url": "http://127.0.0.1:9/", "enabled_events[]": "invoice.paid"},
    )

    check(stripe.billing_portal.Session, portal, "portal")
    check(stripe.WebhookEndpoint, endpoint, "endpoint")
    check(stripe.Product, emulator.raw("GET", "/v1/products/prod_pro"), "product")
    for price in emulator.raw("GET", "/v1/prices")["data"]:
        check(stripe.Price, price, "price")


def test_a_charge_its_refund_and_its_dispute_have_the_expected_keys(emulator: Emulator) -> None:
    subscription = subscribe(emulator)
    invoice_id = str(subscription.latest_invoice)
    invoice = emulator.raw("GET", f"/v1/invoices/{invoice_id}", **{"expand[]": "payments"})
    link = invoice["payments"]["data"][0]
    intent = link["payment"]["payment_intent"]
    (charge,) = emulator.raw("GET", "/v1/charges", payment_intent=intent)["data"]
    refund = emulator.raw("POST", "/v1/refunds", charge=charge["id"], amount="100")
    dispute = emulator.control("POST", f"/charges/{charge['id']}/dispute")

    check(stripe.Invoice, invoice, "invoice")
    check(stripe.InvoicePayment, link, "invoice payment")
    check(stripe.Charge, charge, "charge")
    check(stripe.Refund, refund, "refund")
    check(stripe.Dispute, dispute, "dispute")


def test_every_event_and_its_snapshot_have_the_expected_keys(emulator: Emulator) -> None:
    subscription = subscribe(emulator)
    emulator.sdk().v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    emulator.sdk().v1.subscriptions.cancel(subscription.id)
    (charge,) = emulator.raw("GET", "/v1/charges", customer=str(subscription.customer))["data"]
    refund = emulator.raw("POST", "/v1/refunds", charge=charge["id"])
    emulator.control("POST", f"/refunds/{refund['id']}/fail")
    dispute = emulator.control("POST", f"/charges/{charge['id']}/dispute")
    emulator.control("POST", f"/disputes/{dispute['id']}", {"status": "won"})

    events = emulator.raw("GET", "/v1/events", limit="100")["data"]

    kinds = typing.get_args(stripe.Event.__annotations__["type"])
    for event in events:
        check(stripe.Event, event, event["type"])
        snapshot = event["data"]["object"]
        check(get_object_class("V1", snapshot["object"]), snapshot, event["type"])
        assert event["type"] in kinds

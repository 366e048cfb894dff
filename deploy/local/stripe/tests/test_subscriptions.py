import pytest
import stripe

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


def test_a_cancellation_at_the_periods_end_leaves_it_active(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    subscription = subscribe(emulator)

    updated = sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})

    assert (updated.status, updated.cancel_at_period_end) == ("active", True)
    eventually(lambda: "customer.subscription.updated" in receiver.types(subscription.id))
    (event,) = (
        e for e in receiver.events(subscription.id) if e["type"] == "customer.subscription.updated"
    )
    assert event["data"]["previous_attributes"]["cancel_at_period_end"] is False
    assert event["data"]["object"]["cancel_at_period_end"] is True
    assert event["request"]["id"].startswith("req_")


def test_an_immediate_cancellation_ends_it_with_its_reason(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    subscription = subscribe(emulator)

    sdk.v1.subscriptions.cancel(
        subscription.id, {"cancellation_details": {"comment": "too dear", "feedback": "other"}}
    )

    ended = sdk.v1.subscriptions.retrieve(subscription.id)
    assert ended.status == "canceled"
    assert ended.ended_at is not None
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.comment == "too dear"
    eventually(lambda: "customer.subscription.deleted" in receiver.types(subscription.id))


@pytest.mark.parametrize(
    "status", ["past_due", "unpaid", "paused", "incomplete_expired", "canceled", "trialing"]
)
def test_any_status_can_be_set_and_is_announced(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver, status: str
) -> None:
    subscription = subscribe(emulator)

    emulator.control("POST", f"/subscriptions/{subscription.id}", {"status": status})

    assert sdk.v1.subscriptions.retrieve(subscription.id).status == status
    kind = "deleted" if status == "canceled" else "updated"
    eventually(lambda: f"customer.subscription.{kind}" in receiver.types(subscription.id))


def test_lists_leave_out_canceled_ones_unless_asked(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    customer = str(subscription.customer)
    sdk.v1.subscriptions.cancel(subscription.id)
    params: list[tuple[str | None, int]] = [
        (None, 0),
        ("active", 0),
        ("canceled", 1),
        ("ended", 1),
        ("all", 1),
    ]

    for status, count in params:
        wish: stripe.params.SubscriptionListParams = {"customer": customer}
        if status:
            wish["status"] = status
        assert len(sdk.v1.subscriptions.list(wish).data) == count, status


def test_another_interval_begins_a_period_and_is_charged_at_once(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    item = subscription["items"].data[0].id

    yearly = sdk.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": item, "price": "price_pro_yearly"}], "expand": ["latest_invoice"]},
    )

    assert yearly["items"].data[0].price.id == "price_pro_yearly"
    invoice = yearly.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.billing_reason, invoice.amount_paid) == ("subscription_update", 12000)


def test_an_update_that_is_refused_halfway_changes_nothing(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    item = subscription["items"].data[0].id

    with pytest.raises(stripe.InvalidRequestError, match="No such subscription item"):
        sdk.v1.subscriptions.update(
            subscription.id,
            {"items": [{"id": item, "price": "price_pro_yearly"}, {"id": "si_none"}]},
        )

    now = sdk.v1.subscriptions.retrieve(subscription.id)
    assert now["items"].data[0].price.id == "price_pro_monthly"
    assert len(sdk.v1.invoices.list({"subscription": subscription.id}).data) == 1


@pytest.mark.parametrize(("works", "status"), [(True, "active"), (False, "incomplete")])
def test_one_made_by_the_api_is_active_only_if_the_card_works(
    emulator: Emulator, sdk: stripe.StripeClient, works: bool, status: str
) -> None:
    customer = new_customer(sdk)
    emulator.control("POST", f"/customers/{customer}/card", {"works": works})

    made = sdk.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": "price_pro_monthly"}], "metadata": {"a": "b"}}
    )

    assert (made.status, made.metadata["a"]) == (status, "b")


def test_deleting_a_customer_cancels_what_they_pay_for(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    subscription = subscribe(emulator)
    customer = str(subscription.customer)

    assert sdk.v1.customers.delete(customer).deleted

    assert sdk.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert sdk.v1.customers.retrieve(customer).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        open_session(sdk, customer=customer)
    eventually(lambda: "customer.deleted" in receiver.types(customer))


def test_customers_are_found_by_their_exact_email(sdk: stripe.StripeClient) -> None:
    made = sdk.v1.customers.create({"email": "exact@example.com", "metadata": {"user": "1"}})

    assert [c.id for c in sdk.v1.customers.list({"email": "exact@example.com"}).data] == [made.id]
    assert sdk.v1.customers.list({"email": "xact@example.com"}).data == []


def test_metadata_is_merged_and_an_empty_value_removes_its_key(sdk: stripe.StripeClient) -> None:
    made = sdk.v1.customers.create({"metadata": {"keep": "1", "drop": "2"}})

    changed = sdk.v1.customers.update(made.id, {"metadata": {"drop": "", "add": "3"}})

    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"keep": "1", "add": "3"}


def test_the_catalog_begins_with_pro_by_month_and_by_year(sdk: stripe.StripeClient) -> None:
    monthly = sdk.v1.prices.retrieve("price_pro_monthly", {"expand": ["product"]})

    assert (monthly.unit_amount, monthly.currency) == (1200, "usd")
    assert isinstance(monthly.product, stripe.Product)
    assert monthly.product.id == "prod_pro"
    (yearly,) = sdk.v1.prices.list({"lookup_keys": ["pro_yearly"]}).data
    assert (yearly.id, yearly.unit_amount) == ("price_pro_yearly", 12000)


def test_a_new_product_and_price_can_be_sold(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    product = sdk.v1.products.create({"name": "Team"})
    price = sdk.v1.prices.create(
        {
            "product": product.id,
            "currency": "eur",
            "unit_amount": 500,
            "recurring": {"interval": "week"},
        }
    )

    subscription = subscribe(emulator, line_items=[{"price": price.id, "quantity": 3}])

    (invoice,) = sdk.v1.invoices.list({"subscription": subscription.id}).data
    assert (invoice.amount_paid, invoice.currency) == (1500, "eur")


def test_pages_go_through_everything_once_in_both_directions(sdk: stripe.StripeClient) -> None:
    made = [new_customer(sdk) for _ in range(5)]
    newest_first = made[::-1]

    first = sdk.v1.customers.list({"limit": 2})
    second = sdk.v1.customers.list({"limit": 2, "starting_after": first.data[-1].id})
    back = sdk.v1.customers.list({"limit": 2, "ending_before": second.data[0].id})

    assert [c.id for c in first.data] == newest_first[:2]
    assert first.has_more
    assert [c.id for c in second.data] == newest_first[2:4]
    assert [c.id for c in back.data] == newest_first[:2]
    assert not back.has_more
    walked = [c.id for c in sdk.v1.customers.list({"limit": 2}).auto_paging_iter()]
    assert len(walked) == len(set(walked))
    assert walked[:5] == newest_first


def test_events_are_listed_by_type_and_moment(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    subscription = subscribe(emulator)

    kinds = {e.type for e in sdk.v1.events.list({"type": "invoice.*", "limit": 100}).data}
    assert kinds == {
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    } | (kinds & {"invoice.voided", "invoice.payment_failed"})
    both = sdk.v1.events.list({"types": ["invoice.paid", "customer.created"], "limit": 100})
    assert {e.type for e in both.data} == {"invoice.paid", "customer.created"}
    later = subscription.created + 1000
    assert sdk.v1.events.list({"created": {"gte": later}}).data == []

import httpx2
import pytest
import stripe

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    Receiver,
    eventually,
    subscribe,
)

pytestmark = SDK_WARNING


def charge_of(sdk: stripe.StripeClient, subscription: stripe.Subscription) -> stripe.Charge:
    """Return the one charge of a new subscription, found the way an application must."""
    invoice = sdk.v1.invoices.retrieve(str(subscription.latest_invoice), {"expand": ["payments"]})
    assert invoice.payments is not None
    (link,) = invoice.payments.data
    intent = str(link.payment.payment_intent)
    (charge,) = sdk.v1.charges.list({"payment_intent": intent}).data
    assert (link.status, link.amount_paid) == ("paid", charge.amount)
    return charge


def test_a_paid_invoice_has_a_charge_and_a_free_one_has_none(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    paid = subscribe(emulator)
    trial = subscribe(emulator, subscription_data={"trial_period_days": 7})

    charge = charge_of(sdk, paid)

    assert (charge.amount, charge.customer, charge.status) == (1200, paid.customer, "succeeded")
    assert sdk.v1.charges.list({"customer": str(trial.customer)}).data == []


def test_a_declined_renewal_is_a_failed_charge_of_the_same_payment(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    customer = str(subscription.customer)
    emulator.control("POST", f"/customers/{customer}/card", {"works": False})
    emulator.advance(days=32)
    emulator.control("POST", f"/customers/{customer}/card", {"works": True})

    paid, failed, _ = sdk.v1.charges.list({"customer": customer}).data

    assert (paid.status, failed.status) == ("succeeded", "failed")
    assert (failed.failure_code, failed.paid) == ("card_declined", False)
    assert paid.payment_intent == failed.payment_intent


def test_refunds_add_up_to_the_charge_and_no_further(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    charge = charge_of(sdk, subscribe(emulator))

    part = sdk.v1.refunds.create({"charge": charge.id, "amount": 500, "metadata": {"why": "x"}})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        sdk.v1.refunds.create({"charge": charge.id, "amount": 701})
    rest = sdk.v1.refunds.create({"payment_intent": str(charge.payment_intent)})
    with pytest.raises(stripe.InvalidRequestError) as again:
        sdk.v1.refunds.create({"charge": charge.id})

    assert again.value.code == "charge_already_refunded"
    assert (part.amount, part.status, rest.amount) == (500, "succeeded", 700)
    now = sdk.v1.charges.retrieve(charge.id)
    assert (now.amount_refunded, now.refunded) == (1200, True)
    eventually(lambda: receiver.types(charge.id).count("charge.refunded") == 2)
    assert receiver.types(charge.id).count("refund.created") == 2


def test_a_refund_that_comes_back_is_as_if_it_had_not_been(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    charge = charge_of(sdk, subscribe(emulator))
    refund = sdk.v1.refunds.create({"charge": charge.id})

    for _ in range(2):
        emulator.control("POST", f"/refunds/{refund.id}/fail")

    now = sdk.v1.charges.retrieve(charge.id)
    assert (now.amount_refunded, now.refunded) == (0, False)
    assert sdk.v1.refunds.retrieve(refund.id).status == "failed"
    eventually(lambda: receiver.types(refund.id).count("refund.failed") == 1)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("won", ["created", "funds_withdrawn", "updated", "closed", "funds_reinstated"]),
        ("lost", ["created", "funds_withdrawn", "updated", "closed"]),
        ("under_review", ["created", "funds_withdrawn", "updated"]),
    ],
)
def test_a_dispute_goes_its_way_and_names_no_customer(
    emulator: Emulator,
    sdk: stripe.StripeClient,
    receiver: Receiver,
    status: str,
    told: list[str],
) -> None:
    charge = charge_of(sdk, subscribe(emulator))
    made = emulator.control("POST", f"/charges/{charge.id}/dispute", {"reason": "fraudulent"})

    emulator.control("POST", f"/disputes/{made['id']}", {"status": status})

    (dispute,) = sdk.v1.disputes.list({"charge": charge.id}).data
    assert (dispute.status, dispute.amount, dispute.charge) == (status, 1200, charge.id)
    assert not hasattr(dispute, "customer")
    assert sdk.v1.charges.retrieve(charge.id).disputed
    expected = [f"charge.dispute.{kind}" for kind in told]
    eventually(lambda: receiver.types(made["id"]) == expected)


def test_a_question_of_the_bank_withdraws_nothing(
    emulator: Emulator, sdk: stripe.StripeClient, receiver: Receiver
) -> None:
    charge = charge_of(sdk, subscribe(emulator))
    path = f"/charges/{charge.id}/dispute"

    asked = emulator.control("POST", path, {"status": "warning_needs_response"})
    emulator.control("POST", f"/disputes/{asked['id']}", {"status": "warning_closed"})

    expected = [f"charge.dispute.{kind}" for kind in ("created", "updated", "closed")]
    eventually(lambda: receiver.types(asked["id"]) == expected)


def test_a_disputed_charge_is_neither_refunded_nor_disputed_again(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    charge = charge_of(sdk, subscribe(emulator))
    path = f"/_emulator/charges/{charge.id}/dispute"
    emulator.control("POST", path.removeprefix("/_emulator"))

    with pytest.raises(stripe.InvalidRequestError) as refused:
        sdk.v1.refunds.create({"charge": charge.id})

    assert refused.value.code == "charge_disputed"
    assert httpx2.post(emulator.url + path).status_code == 400


def test_an_invoice_has_a_page_that_its_url_leads_to(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    invoice = sdk.v1.invoices.retrieve(str(subscribe(emulator).latest_invoice))

    for url in (invoice.hosted_invoice_url, invoice.invoice_pdf):
        page = httpx2.get(str(url))
        assert page.status_code == 200
        assert str(invoice.number) in page.text
        assert "$12.00, paid" in page.text

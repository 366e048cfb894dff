import httpx2
import pytest
import stripe

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    new_customer,
    open_session,
    subscribe,
)

pytestmark = SDK_WARNING
EVIL = "<script>alert('x')</script>"


def test_the_pay_page_says_what_it_is_and_what_it_costs(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    session = open_session(sdk, customer_email="ada@example.com")

    page = httpx2.get(str(session.url))

    assert page.status_code == 200
    for text in (
        "Stripe emulator: no real money",
        "Thoughtflow Pro",
        "$12.00 per month",
        "ada@example.com",
        "4242 4242 4242 4242",
        "Decline card",
        'href="http://app.test/back"',
    ):
        assert text in page.text, text
    assert "<script" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_pressing_pay_twice_subscribes_once_and_redirects_both_times(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    session = open_session(sdk, customer_email="twice@example.com")

    answers = [httpx2.post(str(session.url), data={"outcome": "paid"}) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 303
        assert answer.headers["location"] == f"http://app.test/done?session_id={session.id}"
    (customer,) = sdk.v1.customers.list({"email": "twice@example.com"}).data
    (subscription,) = sdk.v1.subscriptions.list({"customer": customer.id}).data
    assert subscription.status == "active"
    assert "has been paid" in httpx2.get(f"{emulator.url}/pay/{session.id}").text


def test_a_session_without_an_email_takes_the_one_that_was_typed(
    sdk: stripe.StripeClient,
) -> None:
    session = open_session(sdk)

    httpx2.post(str(session.url), data={"outcome": "paid", "email": "typed@example.com"})

    done = sdk.v1.checkout.sessions.retrieve(session.id)
    assert done.customer_details is not None
    assert done.customer_details.email == "typed@example.com"


def test_a_declined_card_says_so_and_can_be_tried_again(sdk: stripe.StripeClient) -> None:
    session = open_session(sdk)

    declined = httpx2.post(str(session.url), data={"outcome": "declined"})

    assert declined.status_code == 402
    assert "Your card was declined" in declined.text
    assert httpx2.post(str(session.url), data={"outcome": "paid"}).status_code == 303


def test_an_expired_or_unknown_session_cannot_be_paid(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    session = open_session(sdk)
    sdk.v1.checkout.sessions.expire(session.id)

    assert "has expired" in httpx2.post(str(session.url), data={"outcome": "paid"}).text
    assert sdk.v1.checkout.sessions.retrieve(session.id).subscription is None
    assert httpx2.get(f"{emulator.url}/pay/cs_none").status_code == 404


def test_foreign_text_is_escaped_on_every_page(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    email = f'"{EVIL}"@example.com'
    customer = sdk.v1.customers.create({"email": email}).id
    product = sdk.v1.products.create({"name": EVIL})
    price = sdk.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 1,
            "recurring": {"interval": "month"},
        }
    )
    session = open_session(
        sdk, price=price.id, customer=customer, cancel_url=f'http://app.test/"{EVIL}'
    )
    portal = sdk.v1.billing_portal.sessions.create(
        {"customer": customer, "return_url": f'http://app.test/"{EVIL}'}
    )

    for url in (str(session.url), portal.url, emulator.url, f"{emulator.url}/pay/%3Cscript%3E"):
        text = httpx2.get(url).text
        assert "<script" not in text
        assert "&lt;script" in text


def test_the_portal_cancels_and_resumes(emulator: Emulator, sdk: stripe.StripeClient) -> None:
    subscription = subscribe(emulator)
    portal = sdk.v1.billing_portal.sessions.create(
        {"customer": str(subscription.customer), "return_url": "http://app.test/billing"}
    )
    assert 'href="http://app.test/billing"' in httpx2.get(portal.url).text

    for action, planned, text in (
        ("cancel", True, "Keep the subscription"),
        ("resume", False, "Cancel at the end of the period"),
    ):
        form = {"action": action, "subscription": subscription.id}
        page = httpx2.post(portal.url, data=form, follow_redirects=True)
        assert text in page.text
        now = sdk.v1.subscriptions.retrieve(subscription.id)
        assert (now.status, now.cancel_at_period_end) == ("active", planned)


def test_the_portal_does_not_touch_another_customers_subscription(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    theirs = subscribe(emulator)
    portal = sdk.v1.billing_portal.sessions.create({"customer": new_customer(sdk)})

    answer = httpx2.post(portal.url, data={"action": "cancel", "subscription": theirs.id})

    assert answer.status_code == 404
    assert sdk.v1.subscriptions.retrieve(theirs.id).cancel_at_period_end is False


def test_the_dashboard_shows_everything_and_its_buttons_work(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    kept, dropped = subscribe(emulator), subscribe(emulator)

    page = httpx2.get(emulator.url).text
    for text in ("Stripe emulator (not Stripe)", kept.id, str(kept.customer), "invoice.paid"):
        assert text in page, text
    httpx2.post(f"{emulator.url}/subscriptions/{dropped.id}/cancel")
    httpx2.post(f"{emulator.url}/clock")

    assert sdk.v1.subscriptions.retrieve(dropped.id).status == "canceled"
    assert len(sdk.v1.invoices.list({"subscription": kept.id}).data) == 2


@pytest.mark.parametrize("path", ["/nothing", "/pay/", "/portal/bps_none"])
def test_a_page_that_is_not_there_is_404_without_a_redirect(emulator: Emulator, path: str) -> None:
    assert httpx2.get(f"{emulator.url}{path}").status_code == 404

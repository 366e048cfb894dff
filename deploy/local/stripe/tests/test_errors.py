import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import stripe

from deploy.local.stripe.tests.running import (
    SDK_WARNING,
    Emulator,
    eventually,
    new_customer,
    open_session,
    subscribe,
)

pytestmark = SDK_WARNING


@pytest.fixture(autouse=True)
def _no_faults(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.control("DELETE", "/faults")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer sk_live_1", "Bearer whsec_1", "Basic x"])
def test_only_a_test_key_is_let_in(emulator: Emulator, header: str) -> None:
    headers = {"authorization": header} if header else {}

    response = httpx2.get(f"{emulator.url}/v1/prices", headers=headers)

    assert response.status_code == 401
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["request-id"].startswith("req_")


def test_a_restricted_test_key_is_let_in(emulator: Emulator) -> None:
    headers = {"authorization": "Bearer rk_test_1"}

    assert httpx2.get(f"{emulator.url}/v1/prices", headers=headers).status_code == 200


NOT_FOUND: list[Callable[[stripe.StripeClient], Any]] = [
    lambda sdk: sdk.v1.customers.retrieve("cus_none"),
    lambda sdk: sdk.v1.subscriptions.retrieve("sub_none"),
    lambda sdk: sdk.v1.subscriptions.cancel("sub_none"),
    lambda sdk: sdk.v1.checkout.sessions.retrieve("cs_none"),
    lambda sdk: sdk.v1.invoices.retrieve("in_none"),
    lambda sdk: sdk.v1.events.retrieve("evt_none"),
    lambda sdk: open_session(sdk, price="price_none"),
    lambda sdk: open_session(sdk, customer="cus_none"),
    lambda sdk: sdk.v1.billing_portal.sessions.create({"customer": "cus_none"}),
    lambda sdk: sdk.v1.customers.list({"starting_after": "cus_none"}),
]


@pytest.mark.parametrize("call", NOT_FOUND)
def test_an_id_that_names_nothing_is_resource_missing(
    sdk: stripe.StripeClient, call: Callable[[stripe.StripeClient], Any]
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        call(sdk)

    assert (refusal.value.http_status, refusal.value.code) == (404, "resource_missing")
    assert refusal.value.param


SESSION = {
    "mode": "subscription",
    "success_url": "http://app.test/",
    "line_items[0][price]": "price_pro_monthly",
}


@pytest.mark.parametrize(
    ("path", "form", "param"),
    [
        ("/v1/customers", {"colour": "red"}, "colour"),
        ("/v1/customers", {"email": "nobody"}, "email"),
        ("/v1/customers", {"metadata": "text"}, "metadata"),
        ("/v1/checkout/sessions", SESSION | {"mode": ""}, "mode"),
        ("/v1/checkout/sessions", SESSION | {"mode": "payment"}, "mode"),
        ("/v1/checkout/sessions", SESSION | {"success_url": ""}, "success_url"),
        ("/v1/checkout/sessions", SESSION | {"success_url": "javascript:1"}, "success_url"),
        ("/v1/checkout/sessions", SESSION | {"cancel_url": "//app"}, "cancel_url"),
        ("/v1/checkout/sessions", SESSION | {"expires_at": "1"}, "expires_at"),
        (
            "/v1/checkout/sessions",
            SESSION | {"line_items[0][quantity]": "0"},
            "line_items[0][quantity]",
        ),
        (
            "/v1/checkout/sessions",
            SESSION | {"line_items[0][tax]": "1"},
            "line_items[0][tax]",
        ),
        (
            "/v1/checkout/sessions",
            SESSION | {"subscription_data[trial_period_days]": "soon"},
            "subscription_data[trial_period_days]",
        ),
        ("/v1/subscriptions", {"customer": "cus_1"}, "items"),
        ("/v1/billing_portal/sessions", {}, "customer"),
        ("/v1/customers", {"expand[]": "livemode"}, "expand"),
        ("/v1/customers", {"expand[]": "id"}, "expand"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(
    emulator: Emulator, path: str, form: dict[str, str], param: str
) -> None:
    error = emulator.raw("POST", path, **form)["error"]

    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_a_url_that_the_emulator_lacks_is_refused(sdk: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        sdk.v1.coupons.list()


def test_the_same_key_and_parameters_replay_the_answer(emulator: Emulator) -> None:
    headers = {"authorization": "Bearer sk_test_1", "idempotency-key": "replay"}

    def create() -> httpx2.Response:
        url = f"{emulator.url}/v1/customers"
        return httpx2.post(url, headers=headers, data={"name": "Ada"})

    first, second = create(), create()

    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


def test_the_same_key_with_other_parameters_is_refused(sdk: stripe.StripeClient) -> None:
    sdk.v1.customers.create({"name": "Ada"}, {"idempotency_key": "conflict"})

    with pytest.raises(stripe.IdempotencyError):
        sdk.v1.customers.create({"name": "Bob"}, {"idempotency_key": "conflict"})


def test_a_refused_request_does_not_use_up_its_key(sdk: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        sdk.v1.customers.create({"email": "nobody"}, {"idempotency_key": "again"})

    assert sdk.v1.customers.create({"name": "Ada"}, {"idempotency_key": "again"}).name == "Ada"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, stripe.AuthenticationError),
        (402, stripe.CardError),
        (409, stripe.APIError),
        (429, stripe.RateLimitError),
        (500, stripe.APIError),
        (503, stripe.APIError),
    ],
)
def test_a_fault_is_the_sdk_error_of_its_status_and_then_over(
    emulator: Emulator, sdk: stripe.StripeClient, status: int, error: type[stripe.StripeError]
) -> None:
    emulator.control("POST", "/faults", {"status": status, "times": 2, "path": "/v1/customers"})

    for _ in range(2):
        sdk.v1.prices.list()  # another path is not struck
        with pytest.raises(error) as struck:
            sdk.v1.customers.list()
        assert struck.value.http_status == status
    sdk.v1.customers.list()


def test_a_hanging_call_ends_with_the_clients_patience(emulator: Emulator) -> None:
    emulator.control("POST", "/faults", {"status": "hang"})
    began = time.monotonic()

    with pytest.raises(stripe.APIConnectionError):
        emulator.sdk(timeout_s=0.3).v1.customers.list()

    assert 0.3 <= time.monotonic() - began < 2
    emulator.sdk().v1.customers.list()


def test_an_answer_lost_after_the_effect_is_found_again_by_its_key(emulator: Emulator) -> None:
    emulator.control("POST", "/faults", {"status": 500, "after": True})
    sdk = emulator.sdk(retries=1)

    customer = sdk.v1.customers.create({"email": "lost@example.com"})

    found = sdk.v1.customers.list({"email": "lost@example.com"}).data
    assert [body.id for body in found] == [customer.id]


def test_a_declined_first_payment_is_a_card_error_if_the_caller_wants_it_so(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    customer = new_customer(sdk)
    emulator.control("POST", f"/customers/{customer}/card", {"works": False})

    with pytest.raises(stripe.CardError) as declined:
        sdk.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [{"price": "price_pro_monthly"}],
                "payment_behavior": "error_if_incomplete",
            }
        )

    assert declined.value.code == "card_declined"
    assert sdk.v1.subscriptions.list({"customer": customer, "status": "all"}).data == []


def test_an_ended_subscription_cannot_be_canceled_or_changed(
    emulator: Emulator, sdk: stripe.StripeClient
) -> None:
    subscription = subscribe(emulator)
    assert sdk.v1.subscriptions.cancel(subscription.id).status == "canceled"

    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        sdk.v1.subscriptions.cancel(subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        sdk.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/webhooks", {"mode": "chaos"}),
        ("/webhooks", {"mode": "duplicate", "duplicates": 0}),
        ("/faults", {"status": 418}),
        ("/faults", {}),
        ("/clock/advance", {"seconds": -1}),
        ("/clock/advance", {"seconds": "1"}),
        ("/clock/advance", {"seconds": True}),
        ("/clock/advance", []),
    ],
)
def test_a_wrong_control_is_refused_in_words(emulator: Emulator, path: str, body: Any) -> None:
    response = httpx2.post(f"{emulator.url}/_emulator{path}", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_an_expansion_names_what_it_cannot_expand(sdk: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        sdk.v1.customers.list({"expand": ["data.colour"]})


def test_a_client_that_leaves_does_not_keep_a_hanging_fault_alive(emulator: Emulator) -> None:
    emulator.control("POST", "/faults", {"status": "hang", "path": "/v1/prices"})
    with httpx2.Client(timeout=0.3) as client, pytest.raises(httpx2.ReadTimeout):
        client.get(f"{emulator.url}/v1/prices", headers={"authorization": "Bearer sk_test_1"})

    assert eventually(
        lambda: emulator.control("GET", "/faults") == {"faults": [], "hanging": 0}, within_s=2
    )

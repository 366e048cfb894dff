"""What is sold: by the month or the year, after a trial, at a discount."""

from typing import Any
from uuid import UUID

import pytest

from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing.settings import Settings
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture
def offered() -> dict[str, Any]:
    """Settings on top of the usual ones; a test may change them before billing starts."""
    return {"stripe_pro_annual_price_id": "price_pro_yearly"}


@pytest.fixture
def settings(settings: Settings, offered: dict[str, Any]) -> Settings:
    return Settings(**{**settings.model_dump(), **offered, "_env_file": None})


async def session_of(emulator: Emulator, answer: Any) -> Any:
    assert answer.status_code in {200, 201}, answer.text
    path = f"/checkout/sessions/{answer.json()['session_id']}"
    return await emulator.api(path, **{"expand[]": "line_items"})


@pytest.mark.parametrize(
    ("body", "price"),
    [
        ({}, "price_pro_monthly"),
        ({"interval": "month"}, "price_pro_monthly"),
        ({"interval": "year"}, "price_pro_yearly"),
    ],
)
async def test_pro_is_sold_by_the_month_unless_by_the_year_is_asked_for(
    billing: Billing, emulator: Emulator, user_id: UUID, body: dict[str, str], price: str
) -> None:
    session = await session_of(emulator, await billing.post(user_id, "/subscribe/pro", **body))

    assert session["line_items"]["data"][0]["price"]["id"] == price
    await emulator.pay(session["id"])
    status = await billing.wait_for(user_id, plan="pro")
    assert status["status"] == "active"


async def test_another_interval_replaces_the_open_session_and_the_same_reuses_it(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    async def ask(interval: str) -> Any:
        return await billing.post(user_id, "/subscribe/pro", interval=interval)

    answers = [await ask(interval) for interval in ("month", "year", "year", "month")]

    assert [answer.status_code for answer in answers] == [201, 201, 200, 201]
    sessions = [await session_of(emulator, answer) for answer in answers]
    assert [each["status"] for each in sessions] == ["expired", "expired", "expired", "open"]
    assert sessions[1]["id"] == sessions[2]["id"]


@pytest.mark.parametrize("body", [{"interval": "week"}, {"price": "price_free"}, {"interval": 1}])
async def test_what_is_not_sold_is_refused(
    billing: Billing, emulator: Emulator, user_id: UUID, body: dict[str, Any]
) -> None:
    answer = await billing.post(user_id, "/subscribe/pro", **body)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert await emulator.count("checkout/sessions") == 0


class TestWithoutAnAnnualPrice:
    @pytest.fixture
    def offered(self) -> dict[str, Any]:
        return {}

    async def test_a_year_is_refused_with_what_to_do(self, billing: Billing, user_id: UUID) -> None:
        answer = await billing.post(user_id, "/subscribe/pro", interval="year")

        assert (answer.status_code, answer.json()["code"]) == (422, "interval_not_offered")


class TestWithATrial:
    @pytest.fixture
    def offered(self) -> dict[str, Any]:
        return {"pro_trial_days": 14}

    async def test_the_first_subscription_begins_free_and_is_pro(
        self, billing: Billing, emulator: Emulator, user_id: UUID
    ) -> None:
        await emulator.pay(await billing.session(user_id))

        status = await billing.wait_for(user_id, plan="pro", status="trialing")

        assert status["current_period_end"] > status["as_of"]
        assert [each["total"] for each in (await billing.invoices(user_id))["data"]] == [0]
        await emulator.control("/clock/advance", seconds=15 * 86_400)
        await billing.wait_for(user_id, plan="pro", status="active")
        totals = [each["total"] for each in (await billing.invoices(user_id))["data"]]
        assert totals == [1200, 0]

    @pytest.mark.parametrize("forgotten", [False, True])
    async def test_a_second_subscription_begins_with_a_payment(
        self,
        billing: Billing,
        emulator: Emulator,
        conn: Connection,
        user_id: UUID,
        forgotten: bool,
    ) -> None:
        """Not even for who has a new customer at Stripe, who knows nothing of the first one."""
        subscription_id = await emulator.pay(await billing.session(user_id))
        await billing.wait_for(user_id, plan="pro")
        await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
        await billing.wait_for(user_id, plan="basic", status="canceled")
        if forgotten:
            await conn.execute("UPDATE customer SET stripe_customer_id = 'cus_' || user_id")
            await conn.execute("UPDATE subscription SET status = 'none'")
            await conn.execute("UPDATE customer SET stripe_customer_id = NULL")

        await emulator.pay(await billing.session(user_id))

        await billing.wait_for(user_id, plan="pro", status="active")


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"stripe_promotion_codes": True}, {"allow_promotion_codes": True}),
        ({}, {"allow_promotion_codes": None}),
    ],
)
class TestWithPromotionCodes:
    @pytest.fixture
    def offered(self, more: dict[str, Any]) -> dict[str, Any]:
        return more

    async def test_codes_can_be_typed_if_they_are_allowed(
        self, billing: Billing, emulator: Emulator, user_id: UUID, sent: dict[str, Any]
    ) -> None:
        session = await session_of(emulator, await billing.subscribe(user_id))

        assert sent.items() <= session.items()


class TestWithACoupon:
    @pytest.fixture
    def offered(self) -> dict[str, Any]:
        return {"stripe_coupon_id": "half"}

    @pytest.fixture
    async def coupon(self, emulator: Emulator) -> None:
        created = await emulator.client.post(
            "/v1/coupons",
            data={"id": "half", "percent_off": "50", "duration": "once"},
            headers={"authorization": "Bearer sk_test_anything"},
        )
        assert created.status_code == 200, created.text

    @pytest.mark.usefixtures("coupon")
    async def test_everybody_gets_it(
        self, billing: Billing, emulator: Emulator, user_id: UUID
    ) -> None:
        session = await session_of(emulator, await billing.subscribe(user_id))
        await emulator.pay(session["id"])
        await billing.wait_for(user_id, plan="pro")

        await emulator.control("/clock/advance", seconds=32 * 86_400)

        async def two() -> bool:
            return len((await billing.invoices(user_id))["data"]) == 2

        await eventually(two)
        paid = [each["amount_paid"] for each in (await billing.invoices(user_id))["data"]]
        assert paid == [1200, 600]


def test_a_coupon_and_codes_at_once_do_not_start(settings: Settings) -> None:
    with pytest.raises(ValueError, match="not both"):
        Settings(
            **{
                **settings.model_dump(),
                "_env_file": None,
                "stripe_coupon_id": "half",
                "stripe_promotion_codes": True,
            }
        )


def test_every_price_that_is_or_was_sold_makes_pro(settings: Settings) -> None:
    changed = {"stripe_pro_price_id": "new, old", "stripe_pro_annual_price_id": "year"}
    both = settings.model_copy(update=changed)

    assert both.pro_price_ids == ["new", "old", "year"]
    assert (both.price_sold("month"), both.price_sold("year")) == ("new", "year")

"""What `check` says of Stripe."""

import time

import pytest

from services.billing.checks import check
from services.billing.settings import Settings

pytestmark = pytest.mark.integration


async def problems(settings: Settings) -> list[str]:
    return [finding.line() async for finding in check(settings) if finding.remedy]


async def test_a_stripe_that_has_our_prices_is_well(settings: Settings) -> None:
    lines = [finding.line() async for finding in check(settings)]

    assert [line[9:21].strip() for line in lines] == ["stripe", "stripe clock"]
    assert all(line.startswith("ok") for line in lines)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stripe_api_base": "http://127.0.0.1:1"}, "does not answer"),
        ({"stripe_pro_price_id": "price_of_nobody"}, "unknown"),
        ({"stripe_webhook_secret": None}, "Set STRIPE_WEBHOOK_SECRET"),
    ],
)
async def test_what_is_wrong_at_stripe_is_one_problem(
    settings: Settings, changed: dict[str, str | None], words: str
) -> None:
    (problem,) = await problems(settings.model_copy(update=changed))

    assert words in problem


async def test_a_clock_that_is_not_stripes_is_a_problem(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)

    (problem,) = await problems(settings)

    assert "stripe clock" in problem

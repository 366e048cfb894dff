from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.events import Entitlements
from libs.common.plans import MAX_LIMIT, PlanSettings

NEEDED: dict[str, Any] = {
    "_env_file": None,
    "environment": "development",
    "redis_url": "redis://unused",
    "jwks_url": "http://unused",
    "database_url": "postgresql://unused",
    "rabbitmq_url": "amqp://unused",
}


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> PlanSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return PlanSettings(**NEEDED)


def test_what_a_plan_grants_is_data_and_wins_over_the_short_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read(
        monkeypatch,
        BASIC_MESSAGES_PER_DAY="7",
        BASIC_MODELS="a, b",
        BASIC_ENTITLEMENTS='{"tokens_per_month": 9000, "models": ["c"]}',
        GUEST_ENTITLEMENTS='{"messages_per_day": null, "concurrent_replies": 1}',
    )

    assert settings.unbilled(guest=False) == Entitlements(
        messages_per_day=7, tokens_per_month=9000, models=("c",)
    )
    assert settings.unbilled(guest=True) == Entitlements(
        messages_per_day=None, concurrent_replies=1
    )


@pytest.mark.parametrize("nothing", ["", "{}"])
def test_without_more_the_short_variables_say_it_all(
    monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    settings = read(
        monkeypatch, BASIC_MODELS="a, b", BASIC_ENTITLEMENTS=nothing, GUEST_ENTITLEMENTS=nothing
    )

    assert settings.unbilled(guest=False) == Entitlements(messages_per_day=20, models=("a", "b"))
    assert settings.unbilled(guest=True) == Entitlements(messages_per_day=5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is no JSON object"),
        ('{"mesages_per_day": 1}', "a plan has no mesages_per_day"),
        ('{"messages_per_day": -1}', "messages_per_day: Input should be greater than"),
        ('{"concurrent_replies": 0}', "concurrent_replies: Input should be greater than"),
        (f'{{"tokens_per_day": {MAX_LIMIT + 1}}}', f"tokens_per_day: at most {MAX_LIMIT}"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        read(monkeypatch, BASIC_ENTITLEMENTS=given)

    (error,) = caught.value.errors()
    assert error["loc"] == ("basic_entitlements",)
    assert told in error["msg"]
    assert "\n" not in error["msg"]

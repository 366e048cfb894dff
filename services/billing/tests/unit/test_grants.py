from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.clock import new_id
from libs.common.events import Entitlements, Plan
from services.billing import grants
from services.billing.models import Grant

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLANS: dict[Plan, Entitlements] = {
    "basic": Entitlements(messages_per_day=20, concurrent_replies=2),
    "pro": Entitlements(messages_per_day=None, models=("m",)),
}


def grant(
    plan: Plan | None = None,
    entitlements: dict[str, Any] | None = None,
    *,
    starts_at: datetime = NOW - HOUR,
    expires_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> Grant:
    one = new_id()
    return Grant(
        *(one, one, plan, entitlements or {}, "kind", one, NOW),
        starts_at=starts_at,
        expires_at=expires_at,
        ended_at=ended_at,
    )


def test_without_a_grant_it_is_what_the_plan_grants() -> None:
    for plan, granted in PLANS.items():
        assert grants.effective(plan, [], plans=PLANS) == (plan, granted)


def test_single_entitlements_replace_the_plans_and_the_newest_counts() -> None:
    given = [
        grant(entitlements={"messages_per_day": 50, "tokens_per_day": 9}),
        grant(entitlements={"messages_per_day": None}),
    ]

    plan, granted = grants.effective("basic", given, plans=PLANS)

    assert plan == "basic"
    assert granted == Entitlements(messages_per_day=None, concurrent_replies=2, tokens_per_day=9)


def test_a_granted_plan_brings_all_that_is_its_own_and_single_ones_stay() -> None:
    given = [grant(entitlements={"concurrent_replies": 7}), grant("pro")]

    plan, granted = grants.effective("basic", given, plans=PLANS)

    assert plan == "pro"
    assert granted == Entitlements(messages_per_day=None, models=("m",), concurrent_replies=7)


@pytest.mark.parametrize(
    ("given", "is_live"),
    [
        (grant("pro"), True),
        (grant("pro", starts_at=NOW), True),
        (grant("pro", starts_at=NOW + HOUR), False),
        (grant("pro", expires_at=NOW + HOUR), True),
        (grant("pro", expires_at=NOW), False),
        (grant("pro", ended_at=NOW), False),
    ],
)
def test_a_grant_counts_from_its_start_until_it_expires_or_is_taken_back(
    given: Grant, is_live: bool
) -> None:
    assert grants.live([given], NOW) == [given] * is_live


def test_the_next_change_is_the_first_start_or_end_ahead() -> None:
    ahead = [
        grant(expires_at=NOW + 3 * HOUR),
        grant(starts_at=NOW + 2 * HOUR, expires_at=NOW + 4 * HOUR),
        grant(starts_at=NOW + HOUR, ended_at=NOW),
        grant(starts_at=NOW - 2 * HOUR, expires_at=NOW - HOUR),
        grant(),
    ]

    assert grants.next_change(ahead, NOW) == NOW + 2 * HOUR
    assert grants.next_change(ahead[2:], NOW) is None

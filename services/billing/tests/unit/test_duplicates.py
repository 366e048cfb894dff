from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.billing import rules
from services.billing.models import Standing, Subscription

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=9), NOW - timedelta(days=1)


def subscription(
    status: str, *, name: str, made: datetime, prices: Collection[str] = ("pro",)
) -> Subscription:
    end = NOW + timedelta(days=30)
    return Subscription(name, status, NOW, end, None, made, frozenset(prices))


def too_many(*subscriptions: Subscription) -> list[tuple[str, str]]:
    found = rules.duplicates(subscriptions, price_ids=["pro"])
    return [(each.subscription_id, each.kept_id) for each in found]


@pytest.mark.parametrize(
    ("older", "newer", "ended"),
    [
        ("active", "active", "sub_new"),
        ("trialing", "active", "sub_new"),
        ("active", "incomplete", "sub_new"),
        ("active", "past_due", "sub_new"),
        ("past_due", "active", "sub_old"),
        ("unpaid", "trialing", "sub_old"),
        ("paused", "active", "sub_old"),
    ],
)
def test_of_several_live_ones_the_oldest_that_is_paid_stays(
    older: str, newer: str, ended: str
) -> None:
    old = subscription(older, name="sub_old", made=OLD)
    new = subscription(newer, name="sub_new", made=NEW)
    kept = "sub_old" if ended == "sub_new" else "sub_new"

    assert too_many(old, new) == too_many(new, old) == [(ended, kept)]
    (found,) = rules.duplicates([old, new], price_ids=["pro"])
    assert found.since == NEW  # before that nothing was paid twice


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("active", "canceled"),
        ("incomplete_expired", "active"),
        ("incomplete", "incomplete"),
        ("past_due", "unpaid"),
        ("canceled", "canceled"),
    ],
)
def test_nothing_is_too_many_while_one_is_alive_or_none_is_paid(older: str, newer: str) -> None:
    old = subscription(older, name="sub_old", made=OLD)
    assert too_many(old, subscription(newer, name="sub_new", made=NEW)) == []


def test_a_subscription_for_other_things_too_is_not_ours_to_end() -> None:
    old = subscription("active", name="sub_old", made=OLD)
    new = subscription("active", name="sub_new", made=NEW, prices=("pro", "mug"))
    assert too_many(old, new) == []
    assert too_many(replace(new, created_at=OLD), replace(old, created_at=NEW)) == [
        ("sub_old", "sub_new")
    ]


def test_one_whose_payment_was_given_back_is_not_paid() -> None:
    old = replace(subscription("active", name="sub_old", made=OLD), is_taken_back=True)
    new = subscription("active", name="sub_new", made=NEW)
    assert too_many(old, new) == [("sub_old", "sub_new")]


@pytest.mark.parametrize("status", ["none", "active", "past_due", "canceled", "what_is_new"])
def test_every_standing_has_a_reason(status: str) -> None:
    reasons = {rules.why(Standing(plan, status)) for plan in ("basic", "pro")}
    assert all(reasons)
    assert len(reasons) == (2 if status in {"past_due", "active"} else 1)

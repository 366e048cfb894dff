from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.common.events import Plan
from services.billing import rules
from services.billing.errors import (
    AlreadySubscribedError,
    PaymentOverdueError,
    SubscriptionExistsError,
)
from services.billing.models import Standing, Subscription

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GRACE = timedelta(days=3)
MONTH = timedelta(days=30)


def subscription(
    status: str,
    *,
    name: str = "sub_1",
    began: datetime = NOW,
    ends_at: datetime | None = None,
    made: datetime = NOW,
    prices: Collection[str] = ("pro",),
) -> Subscription:
    return Subscription(name, status, began, began + MONTH, ends_at, made, frozenset(prices))


def effective(*subscriptions: Subscription) -> Standing:
    return rules.effective(subscriptions, now=NOW, grace=GRACE)


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("active", "pro"),
        ("trialing", "pro"),
        ("incomplete", "basic"),
        ("incomplete_expired", "basic"),
        ("unpaid", "basic"),
        ("paused", "basic"),
        ("canceled", "basic"),
        ("a_status_of_next_year", "basic"),
    ],
)
def test_only_active_and_trialing_grant_pro(status: str, plan: Plan) -> None:
    assert effective(subscription(status)).plan == plan


@pytest.mark.parametrize(
    ("unpaid_for", "plan"),
    [
        (timedelta(0), "pro"),
        (GRACE - timedelta(seconds=1), "pro"),
        (GRACE, "basic"),
        (MONTH, "basic"),
    ],
)
def test_past_due_grants_pro_until_its_grace_is_over(unpaid_for: timedelta, plan: Plan) -> None:
    assert effective(subscription("past_due", began=NOW - unpaid_for)).plan == plan


def test_a_user_without_subscriptions_is_basic() -> None:
    assert effective() == Standing("basic", "none", None, None, False)


@pytest.mark.parametrize(
    ("statuses", "counts"),
    [
        (("canceled", "active"), "active"),
        (("active", "canceled"), "active"),
        (("incomplete", "past_due"), "past_due"),
        (("unpaid", "canceled"), "unpaid"),
        (("incomplete_expired", "canceled"), "canceled"),
    ],
)
def test_the_best_of_several_counts_in_any_order(statuses: tuple[str, ...], counts: str) -> None:
    assert effective(*(subscription(status) for status in statuses)).status == counts


def test_pro_in_its_grace_counts_more_than_a_subscription_that_waits() -> None:
    late = subscription("past_due", name="sub_late", began=NOW - timedelta(days=1))
    assert effective(subscription("unpaid"), late).stripe_subscription_id == "sub_late"


def test_of_two_equal_ones_the_longer_counts() -> None:
    old = subscription("active", name="sub_old", began=NOW - timedelta(days=20))
    new = subscription("active", name="sub_new")
    assert effective(new, old) == effective(old, new)
    assert effective(old, new).stripe_subscription_id == "sub_new"


@pytest.mark.parametrize(
    ("ends_at", "cancelled"),
    [(None, False), (NOW + MONTH, True), (NOW + timedelta(days=5), True), (NOW + 2 * MONTH, False)],
)
def test_an_end_within_the_period_is_announced(ends_at: datetime | None, cancelled: bool) -> None:
    assert effective(subscription("active", ends_at=ends_at)).cancel_at_period_end is cancelled


@pytest.mark.parametrize("status", ["none", "canceled", "incomplete_expired"])
def test_who_has_no_live_subscription_may_subscribe(status: str) -> None:
    rules.ensure_may_subscribe(Standing(status=status))


def test_a_pro_user_may_not_subscribe_again() -> None:
    with pytest.raises(AlreadySubscribedError):
        rules.ensure_may_subscribe(Standing("pro", "active"))


@pytest.mark.parametrize("status", ["past_due", "unpaid", "incomplete"])
def test_who_owes_a_payment_may_not_subscribe_beside_it(status: str) -> None:
    with pytest.raises(PaymentOverdueError):
        rules.ensure_may_subscribe(Standing(status=status))


@pytest.mark.parametrize("status", ["paused", "active", "a_status_of_next_year"])
def test_who_has_any_other_subscription_may_not_buy_a_second_one(status: str) -> None:
    with pytest.raises(SubscriptionExistsError):
        rules.ensure_may_subscribe(Standing(status=status))


@pytest.mark.parametrize(
    ("prices", "is_pro"),
    [({"old"}, True), ({"sold"}, True), ({"mug", "old"}, True), ({"mug"}, False), (set(), False)],
)
def test_a_subscription_is_pro_by_its_price(prices: set[str], is_pro: bool) -> None:
    about = replace(subscription("active"), price_ids=frozenset(prices))
    assert rules.pro_subscriptions([about], price_ids=["sold", "old"]) == [about] * is_pro


def test_those_that_may_still_be_charged_are_alive() -> None:
    statuses = ("active", "past_due", "paused", "incomplete", "canceled", "incomplete_expired")
    found = rules.alive(subscription(status) for status in statuses)
    assert [each.status for each in found] == ["active", "past_due", "paused", "incomplete"]


def too_many(*subscriptions: Subscription) -> list[tuple[str, str]]:
    found = rules.duplicates(subscriptions, price_ids=["pro"])
    return [(each.subscription_id, each.kept_id) for each in found]


OLD, NEW = NOW - timedelta(days=9), NOW - timedelta(days=1)


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


@pytest.mark.parametrize("status", ["none", "active", "past_due", "canceled", "what_is_new"])
def test_every_standing_has_a_reason(status: str) -> None:
    reasons = {rules.why(Standing(plan, status)) for plan in ("basic", "pro")}
    assert all(reasons)
    assert len(reasons) == (2 if status == "past_due" else 1)

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
from services.billing.models import Invoice, Standing, Subscription

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


def invoice(
    *,
    began: datetime = NOW,
    paid: int = 1200,
    refunded: int = 0,
    dispute: str | None = None,
    status: str = "paid",
    of: str = "sub_1",
    created_at: datetime = NOW,
) -> Invoice:
    return Invoice(
        id="in_1",
        subscription_id=of,
        number="A-1",
        status=status,
        currency="usd",
        total=1200,
        amount_paid=paid,
        refunded_amount=refunded,
        dispute_status=dispute,
        period_start=began,
        period_end=began + MONTH,
        created_at=created_at,
        hosted_url=None,
        pdf_url=None,
    )


def plan_after(*invoices: Invoice, status: str = "active") -> Plan:
    return effective(*rules.mark_taken_back([subscription(status)], invoices)).plan


@pytest.mark.parametrize(
    ("refunded", "plan"), [(0, "pro"), (1, "pro"), (1199, "pro"), (1200, "basic")]
)
def test_a_refund_of_all_that_was_paid_ends_pro(refunded: int, plan: Plan) -> None:
    assert plan_after(invoice(refunded=refunded)) == plan


@pytest.mark.parametrize(
    ("dispute", "plan"),
    [
        (None, "pro"),
        ("needs_response", "basic"),
        ("under_review", "basic"),
        ("lost", "basic"),
        ("appeal_needs_response", "basic"),
        ("appeal_under_review", "basic"),
        ("won", "pro"),
        ("prevented", "pro"),
        ("warning_needs_response", "pro"),
        ("warning_under_review", "pro"),
        ("warning_closed", "pro"),
    ],
)
def test_a_dispute_ends_pro_while_the_bank_has_the_money(dispute: str | None, plan: Plan) -> None:
    assert plan_after(invoice(dispute=dispute)) == plan


@pytest.mark.parametrize(
    "other",
    [
        invoice(began=NOW - MONTH, refunded=1200),
        invoice(began=NOW + MONTH, refunded=1200),
        invoice(of="sub_2", refunded=1200),
        invoice(status="void", paid=0),
        invoice(paid=0),
        invoice(refunded=1200, created_at=NOW - MONTH),
    ],
    ids=["before", "after", "another's", "void", "trial", "replaced in the midst"],
)
def test_only_the_newest_payment_for_the_period_counts(other: Invoice) -> None:
    assert plan_after(invoice(), other) == "pro"
    assert plan_after(other, invoice()) == "pro"


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_no_status_outweighs_a_payment_taken_back(status: str) -> None:
    assert plan_after(invoice(refunded=1200), status=status) == "basic"


@pytest.mark.parametrize(
    ("status", "is_changeable"),
    [
        *((status, True) for status in ("active", "trialing", "past_due", "unpaid", "paused")),
        *((status, False) for status in ("none", "incomplete", "incomplete_expired", "canceled")),
    ],
)
def test_an_end_can_be_planned_for_what_has_begun_and_is_not_over(
    status: str, is_changeable: bool
) -> None:
    standing = Standing(status=status, stripe_subscription_id="sub_1")
    assert (rules.changeable(standing) == "sub_1") is is_changeable

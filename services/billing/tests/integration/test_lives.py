"""Whatever happens to a subscription and to its webhooks: in the end we say what Stripe says."""

import itertools
import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from libs.common.db import Connection
from libs.common.testing import eventually
from services.billing import applier
from services.billing.tests.integration.lives import ENDED, Life, Step, instant, steps
from services.billing.tests.integration.system import Billing, Clock, Emulator

RUNS = int(os.environ.get("PROPERTY_RUNS", "50"))
GRACE = timedelta(days=3)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    # It would hide the life that failed, with which it tells of all that the fixtures hold.
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.timeout(90 + 3 * RUNS),
]


@pytest.fixture(autouse=True)
def _sweeps_are_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier, "SWEEP_INTERVAL_S", 1e6)


@settings(
    max_examples=RUNS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(life=steps())
@example(life=[("webhooks", "drop"), ("buy", "paid"), ("fail_renewal", None)])
@example(life=[("webhooks", "hold"), ("buy", "paid"), ("subscribe_again", None)])
@example(
    life=[
        *(("webhooks", "normal"), ("buy", "paid"), ("wait", None), ("fail_renewal", None)),
        *(("wait", None), ("days", 4)),
    ]
)
async def test_after_any_life_our_state_is_stripes(
    billing: Billing, emulator: Emulator, clock: Clock, conn: Connection, life: list[Step]
) -> None:
    """B4, B8: webhooks shuffled, repeated, late and lost, and Stripe away now and then."""
    it = await Life.begin(billing, emulator, clock, conn)
    for step in life:
        await it.live(step)

    await it.deliver()
    at_stripe = await it.subscriptions()
    if not (it.has_lost or any(each["status"] == "past_due" for each in at_stripe)):
        # Only what is lost, and the end of a grace, need the sweep.
        ensure_equal(await it.billing.status(it.user_id), at_stripe, now=clock())
    await it.reconcile()

    copy = await billing.status(it.user_id)
    ensure_equal(copy, await it.subscriptions(), now=clock())
    await ensure_announced(it, copy)
    await ensure_told(it)
    await it.end()


def ensure_equal(copy: Any, at_stripe: list[Any], *, now: datetime) -> None:
    """Compare with what Stripe lists; written without a look at our own rules."""
    live = [each for each in at_stripe if each["status"] not in ENDED]
    paid = [each for each in live if each["status"] in {"active", "trialing"}]
    late = [each for each in live if each["status"] == "past_due"]
    in_grace = [each for each in late if now < instant(_period(each)[0]) + GRACE]

    assert copy["plan"] == ("pro" if paid or in_grace else "basic")
    if paid:
        assert len(live) == 1, "somebody pays twice"
    if live:
        (shown,) = [each for each in live if _shown(each) == _copied(copy)][:1] or [None]
        assert shown is not None, (copy, [_shown(each) for each in live])
    else:
        assert copy["status"] in {each["status"] for each in at_stripe} | {"none"}


async def ensure_announced(it: Life, copy: Any) -> None:
    """See that each change was announced once, and the last one is the copy."""
    version = await it.conn.fetchval(
        "SELECT version FROM subscription WHERE user_id = $1", it.user_id
    )

    async def all_of_them() -> bool:
        return len(await it.billing.changes(it.user_id)) >= (version or 0)

    await eventually(all_of_them)
    assert await it.conn.fetchval("SELECT count(*) FROM outbox") == 0, "there would be more"
    changes = sorted(await it.billing.changes(it.user_id), key=lambda change: change.version)
    assert [change.version for change in changes] == list(range(1, (version or 0) + 1))
    states = [
        change.model_dump(exclude={"event_id", "occurred_at", "version"}) for change in changes
    ]
    assert all(earlier != later for earlier, later in itertools.pairwise(states))
    if changes:
        told = changes[-1].model_dump(mode="json")
        same = ("plan", "status", "current_period_end", "cancel_at_period_end", "entitlements")
        assert {name: told[name] for name in same} == {name: copy[name] for name in same}
    else:
        assert copy["plan"] == "basic"


async def ensure_told(it: Life) -> None:
    """See that the timeline begins with nothing, has no gap, and ends with what is announced."""
    found = await it.billing.http.get(
        "/subscription/timeline",
        params={"limit": 100},
        headers={"authorization": f"Bearer {it.user_id}"},
    )
    entries = [each for each in found.json()["data"] if "plan" in each["after"]][::-1]
    for earlier, later in itertools.pairwise(entries):
        assert earlier["after"] == later["before"]
    changed = [each for each in entries if each["effect"] == "changed"]
    versions = [each["after"]["version"] for each in changed]
    assert versions == list(range(1, len(changed) + 1))
    if entries:
        assert entries[0]["before"]["version"] == 0


def _period(subscription: Any) -> tuple[int, int]:
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def _shown(subscription: Any) -> tuple[Any, ...]:
    end = _period(subscription)[1]
    ends = subscription["cancel_at"] is not None and subscription["cancel_at"] <= end
    return subscription["status"], instant(end), ends


def _copied(copy: Any) -> tuple[Any, ...]:
    end = copy["current_period_end"]
    moment = None if end is None else datetime.fromisoformat(end)
    return copy["status"], moment, copy["cancel_at_period_end"]

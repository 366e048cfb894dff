import pytest

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.testing import counted
from services.billing.actions import syncing
from services.billing.applier import Applier
from services.billing.tests.integration.system import Billing
from services.billing.tests.integration.test_applier import add_customers, disturbed

pytestmark = pytest.mark.integration
LAG = "thoughtflow_webhook_lag_seconds"
FAILURES = "thoughtflow_webhook_failures_total"


async def add_event(conn: Connection, customer: str) -> None:
    """Store an event that came a minute ago, which nobody but the test looks at."""
    async with conn.transaction():
        await add_customers(conn, customer)
        await conn.execute("UPDATE subscription SET as_of = now()")
    await conn.execute(
        "INSERT INTO stripe_event (id, type, customer_id, payload, received_at, next_try_at)"
        " VALUES ($1, 'x', $2, '{}', now() - interval '1 minute', now() + interval '1 hour')",
        f"evt_{new_id()}",
        customer,
    )


async def test_the_lag_of_a_webhook_is_the_time_until_it_has_its_effect(
    billing: Billing, conn: Connection
) -> None:
    await add_event(conn, "cus_good")
    before = counted(f"{LAG}_count"), counted(f"{LAG}_sum")

    await syncing.sync_customer(billing.res, "cus_good", cause="event")
    await syncing.sync_customer(billing.res, "cus_good", cause="sweep")  # nothing is new

    assert counted(f"{LAG}_count") == before[0] + 1
    assert 60 <= counted(f"{LAG}_sum") - before[1] < 90


async def test_a_webhook_that_cannot_be_applied_is_counted_each_time(
    billing: Billing, conn: Connection
) -> None:
    await add_event(conn, "cus_bad")
    res, _ = disturbed(billing.res, poisoned="cus_bad")
    before = counted(FAILURES), counted(f"{LAG}_count")

    await Applier(res)._apply("cus_bad")
    await Applier(res)._apply("cus_bad")

    assert (counted(FAILURES), counted(f"{LAG}_count")) == (before[0] + 2, before[1])

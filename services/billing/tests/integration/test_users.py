"""Billing's copy of how users can be reached."""

import asyncio
import random

import pytest

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.billing.actions import users
from services.billing.tests.integration.system import Billing

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("seed", range(3))
async def test_users_who_are_announced_three_times_in_any_order_are_kept_once(
    billing: Billing, conn: Connection, seed: int
) -> None:
    """E2, E3: one row each; and what came later, from Stripe, is not undone by a repetition."""
    events = [
        UserRegistered(user_id=new_id(), name=f"user {number}", email=f"u{number}@example.org")
        for number in range(8)
    ]
    deliveries = events * 2
    random.Random(seed).shuffle(deliveries)

    await asyncio.gather(*(users.record_user(billing.res, each) for each in deliveries))
    ids = [event.user_id for event in events]  # others may come from other tests
    await conn.execute(
        "UPDATE customer SET name = 'changed', stripe_customer_id = 'cus_' || email"
        " WHERE user_id = ANY($1)",
        ids,
    )
    for event in events:
        await users.record_user(billing.res, event)

    rows = await conn.fetch("SELECT * FROM customer WHERE user_id = ANY($1) ORDER BY email", ids)
    assert [row["user_id"] for row in rows] == ids
    assert {row["name"] for row in rows} == {"changed"}
    assert all(row["stripe_customer_id"] == f"cus_{row['email']}" for row in rows)

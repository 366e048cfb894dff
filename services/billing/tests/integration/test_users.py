"""Billing's copy of how users can be reached."""

import asyncio
import random
from uuid import UUID

import pytest

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import UserChanged, UserRegistered
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


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 0, 2), (2, 0, 1, 2)])
async def test_the_newest_way_to_reach_a_user_wins_in_any_order(
    billing: Billing, conn: Connection, user_id: UUID, order: tuple[int, ...]
) -> None:
    """E3, E6: registered, then changed twice, heard in any order."""
    events: list[UserRegistered | UserChanged] = [
        UserRegistered(user_id=user_id, email="old@example.org"),
        UserChanged(user_id=user_id, version=2, email="old@example.org", name="Ada"),
        UserChanged(user_id=user_id, version=3, phone="+14155552671", name="Ada"),
    ]

    for number in order:
        event = events[number]
        if isinstance(event, UserChanged):
            await users.record_change(billing.res, event)
        else:
            await users.record_user(billing.res, event)

    row = await conn.fetchrow("SELECT phone, email, name FROM customer WHERE user_id = $1", user_id)
    assert row is not None
    assert tuple(row) == ("+14155552671", None, "Ada")

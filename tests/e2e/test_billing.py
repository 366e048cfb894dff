"""Plans and payments, as clients of the whole system see them."""

import time
from typing import Any

import httpx2
import pytest

from libs.common.testing import eventually
from tests.e2e.person import Person, reading
from tests.e2e.stack import LIMIT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
FOLLOWED_S = 8.0


async def control(stack: Stack, where: str, /, **body: Any) -> None:
    async with httpx2.AsyncClient(base_url=stack.url("stripe")) as stripe:
        answer = await stripe.post(f"/_emulator{where}", json=body)
        assert answer.status_code == 200, answer.text


async def subscription_of(stack: Stack, user_id: str) -> str:
    row = await stack.query(
        lambda conn: conn.fetchrow(
            "SELECT stripe_subscription_id AS id FROM billing.subscription"
            " WHERE user_id::text = $1",
            user_id,
        )
    )
    assert row is not None
    return str(row["id"])


async def becomes(person: Person, stack: Stack, user_id: str, *, plan: str, status: str) -> None:
    """Wait until billing says so, and chat has heard of it."""

    async def is_there() -> bool:
        told = await person.call("GET", "/subscription/status")
        heard = await stack.query(
            lambda conn: conn.fetchval(
                "SELECT plan FROM chat.entitlement WHERE user_id::text = $1", user_id
            )
        )
        return (told["plan"], told["status"], heard) == (plan, status, plan)

    await eventually(is_there, within_s=FOLLOWED_S)


async def accepted(person: Person, room: str, tries: int) -> list[int]:
    """Post one after the other, each when the reply before has ended; return the statuses."""
    statuses = []
    for number in range(tries):
        statuses.append((await person.post(room, f"What is 1 + {number}?")).status_code)
        await person.ended(room)
    return statuses


@pytest.mark.parametrize("status", ["unpaid", "canceled", "incomplete_expired"])
async def test_a_plan_follows_its_subscription_and_leaves_exactly_the_free_prompts(
    stack: Stack, person: Person, status: str
) -> None:
    """B8: each within 8 s; late first, which the time of grace covers, and active in the end."""
    me = str((await person.call("GET", "/user/me"))["id"])
    await person.pay(stack.url("stripe"))
    path = f"/subscriptions/{await subscription_of(stack, me)}"
    room = await person.room()

    await control(stack, path, status="past_due")
    await becomes(person, stack, me, plan="pro", status="past_due")
    await control(stack, path, status=status)
    await becomes(person, stack, me, plan="basic", status=status)
    free = await accepted(person, room, LIMIT + 2)
    await control(stack, path, status="active")
    await becomes(person, stack, me, plan="pro", status="active")
    paid = await accepted(person, room, 2)

    assert free == [202] * LIMIT + [429] * 2
    assert paid == [202] * 2


@pytest.mark.parametrize("fault", [500, 429, "hang"])
async def test_a_stripe_that_fails_or_hangs_is_told_in_time_and_chat_goes_on(
    stack: Stack, person: Person, fault: int | str
) -> None:
    """B10: in less than 15 s, our own bar being 10."""
    room = await person.room()
    await control(stack, "/faults", status=fault, times=1000, path="/v1/c")  # customers, checkout
    try:
        async with reading(person, room) as reads:
            started = time.monotonic()
            refused = await person.http.post("/subscribe/pro")
            took_s = time.monotonic() - started
            posted = await person.post(room, "What is 2 + 3?")
            messages = await person.ended(room)
    finally:
        async with httpx2.AsyncClient(base_url=stack.url("stripe")) as stripe:
            await stripe.delete("/_emulator/faults")

    assert (refused.status_code, refused.json()["code"]) == (503, "billing_unavailable")
    assert took_s < 10
    assert {status for status, _ in reads} == {200}
    assert posted.status_code == 202
    assert [each["status"] for each in messages] == ["completed"] * 2
    assert (await person.http.post("/subscribe/pro")).status_code == 201

"""The budget under random lives of generations, many of them at the same moment."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import deleted_users
from libs.common.clock import new_id
from libs.common.db import Connection, Pool, open_pool
from libs.common.events import Entitlements, MessagePosted, SubscriptionChanged, Usage
from services.ai.models import Charge
from services.ai.store import deletion, entitlements, generations, ledger
from services.ai.tests.integration.asking import posted, stopped_of

pytestmark = pytest.mark.integration
TIMES = (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, 0, 1, tzinfo=UTC))
"""Around the end of a month, and so of a day."""

MONTH_LIMIT, DAY_LIMIT = 60, 150
WORKERS = (1, 2, 3)
"""None of them holds its lock, so each may take over from the others."""


@dataclass(frozen=True)
class Step:
    """One thing that happens: to the generation `number`, of the user `number` % 2."""

    kind: Literal["claim", "end", "stop", "title", "delete"]
    number: int
    worker: int
    time: int
    cost: int


STEPS = st.builds(
    Step,
    kind=st.sampled_from([*["claim"] * 8, *["end"] * 5, "stop", "title", "delete"]),
    number=st.integers(0, 9),
    worker=st.sampled_from(WORKERS),
    time=st.integers(0, 1),
    cost=st.integers(10, 40),
)
ROUNDS = st.lists(st.lists(STEPS, min_size=2, max_size=12), min_size=1, max_size=5)


@pytest.fixture
async def pool(database_urls: dict[str, str]) -> AsyncIterator[Pool]:
    pool = await open_pool(database_urls["ai"], schema="ai", max_size=8)
    yield pool
    await pool.close()


class World:
    """Ten replies of two users; the first has a budget, the second has none."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.users = (new_id(), new_id())
        self.events = [posted(user_id=self.users[number % 2]) for number in range(10)]
        self.deleted: set[UUID] = set()

    async def begin(self) -> None:
        plan = SubscriptionChanged(
            user_id=self.users[0],
            version=1,
            plan="basic",
            status="none",
            entitlements=Entitlements(messages_per_day=None, cost_micros_per_month=MONTH_LIMIT),
        )
        async with self.pool.acquire() as conn:
            await conn.execute(
                "TRUNCATE generation, usage_ledger, budget, daily_budget, entitlement, outbox"
            )
            await entitlements.upsert_entitlement(conn, plan)

    async def do(self, step: Step) -> None:
        event, now = self.events[step.number], TIMES[step.time]
        async with self.pool.acquire() as conn:
            match step.kind:
                case "claim":
                    await generations.claim_generation(
                        conn,
                        event,
                        model="m",
                        worker=step.worker,
                        now=now,
                        cost_micros=step.cost,
                        day_limit=DAY_LIMIT,
                    )
                case "end":
                    await end(conn, event, now, share=step.cost / 40)
                case "stop":
                    await stop(conn, event, now)
                case "title":
                    await ledger.insert_charge(
                        conn,
                        charge(step.cost),
                        kind="title",
                        subject_id=event.reply_id,
                        user_id=event.user_id,
                        chatroom_id=event.chatroom_id,
                        now=now,
                        counts_days=True,
                    )
                case "delete":
                    await delete(conn, event.user_id)
                    self.deleted.add(event.user_id)


def charge(cost: int) -> Charge:
    return Charge("m", Usage(), "test", cost_micros=cost, estimated=False)


async def end(conn: Connection, event: MessagePosted, now: datetime, *, share: float) -> None:
    """End what runs as its worker does, at part of the price that is held for it."""
    row = await conn.fetchrow(
        """
        SELECT attempt, worker, coalesce(reserved_micros, 0) AS held FROM generation WHERE id = $1
        """,
        event.reply_id,
    )
    if row is not None:
        stopped = stopped_of(event).model_copy(update={"attempt": row["attempt"]})
        spent = charge(int(row["held"] * share))
        await generations.end_generation(
            conn, stopped, spent, worker=row["worker"], now=now, counts_days=True
        )


async def stop(conn: Connection, event: MessagePosted, now: datetime) -> None:
    """Do what `actions.stops` does with a reply that nobody has begun, or whose worker is dead."""
    async with conn.transaction():
        await generations.insert_tombstone(
            conn, event.reply_id, user_id=event.user_id, chatroom_id=event.chatroom_id, now=now
        )
        running = await generations.request_stop(
            conn, event.reply_id, user_id=event.user_id, now=now
        )
        if running is not None and running.is_orphan:
            stopped = stopped_of(event).model_copy(update={"attempt": running.attempt})
            await generations.end_generation(
                conn, stopped, charge(0), worker=running.worker, now=now, counts_days=True
            )


async def delete(conn: Connection, user_id: UUID) -> None:
    await deleted_users.mark(conn, user_id)
    await deleted_users.settle(conn)
    async with conn.transaction():
        await deletion.delete_generations(conn, user_id)
        await deletion.delete_budget(conn, user_id)
        await deletion.anonymise_ledger(conn, user_id)


Sums = Counter[tuple[str, ...]]


async def sums(conn: Connection, sql: str) -> Sums:
    """Return the last column of the rows by the others; what is 0 is left out."""
    found: Sums = Counter()
    for row in await conn.fetch(sql):
        *key, value = row
        found[tuple(map(str, key))] += int(value)
    return Counter({key: value for key, value in found.items() if value})


async def ensure_sound(world: World, *, is_strict: bool) -> None:
    """Fail unless both tables say what ledger and generations do, and no limit is passed."""
    async with world.pool.acquire() as conn:
        assert await sums(conn, "SELECT user_id, month, settled_micros FROM budget") == await sums(
            conn,
            """
            SELECT user_id, date_trunc('month', ended_at AT TIME ZONE 'UTC')::date, cost_micros
            FROM usage_ledger WHERE user_id IS NOT NULL
            """,
        )
        assert await sums(conn, "SELECT user_id, month, reserved_micros FROM budget") == await sums(
            conn,
            """
            SELECT user_id, reserved_month, reserved_micros FROM generation
            WHERE status = 'running' AND reserved_micros IS NOT NULL
            """,
        )
        assert await sums(conn, "SELECT day, settled_micros FROM daily_budget") == await sums(
            conn, "SELECT (ended_at AT TIME ZONE 'UTC')::date, cost_micros FROM usage_ledger"
        )
        assert await sums(conn, "SELECT day, reserved_micros FROM daily_budget") == await sums(
            conn,
            """
            SELECT reserved_day, reserved_micros FROM generation
            WHERE status = 'running' AND reserved_micros IS NOT NULL
            """,
        )
        named = {row["user_id"] for row in await conn.fetch("SELECT user_id FROM budget")}
        assert not named & world.deleted
        if is_strict:
            months = "SELECT user_id, month, settled_micros + reserved_micros FROM budget"
            for (user_id, _), total in (await sums(conn, months)).items():
                assert user_id != str(world.users[0]) or total <= MONTH_LIMIT
            days = "SELECT day, settled_micros + reserved_micros FROM daily_budget"
            assert all(total <= DAY_LIMIT for total in (await sums(conn, days)).values())


def strictly(step: Step) -> Step:
    """Return a step after which no limit may be passed.

    Titles hold nothing before, and what runs at midnight counts where it ends.
    """
    return replace(step, kind="claim" if step.kind == "title" else step.kind, time=0)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rounds=ROUNDS, is_strict=st.booleans())
async def test_whatever_happens_at_once_the_budget_is_the_ledger_and_what_runs(
    pool: Pool, conn: Connection, rounds: list[list[Step]], is_strict: bool
) -> None:
    """Claims, takeovers, ends, stops, titles and deletions, around the end of a month.

    Settled is the ledger's sum, reserved what running generations hold; no limit is passed.
    """
    world = World(pool)
    await world.begin()

    for steps in rounds:
        happening = [strictly(step) if is_strict else step for step in steps]
        await asyncio.gather(*map(world.do, happening))

        await ensure_sound(world, is_strict=is_strict)

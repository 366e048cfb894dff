"""The counting of quotas, whatever happens in whatever order: what is counted is what happened."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Entitlements
from services.chat.models import Draft, Posted, ReplyEnd, Terms
from services.chat.store import messages, quotas, replies

pytestmark = pytest.mark.integration

BEGIN = datetime(2026, 10, 29, 12, 0, tzinfo=UTC)
STEPS_S = st.sampled_from([0, 1, 3600, 11 * 3600, 30 * 3600, 9 * 86_400, -40])
"""Seconds from one thing to the next; now and then a process has a clock that is behind."""

ENDS = st.sampled_from(["completed", "failed", "failed, written", "stopped", "stopped, written"])
POSTS = st.tuples(st.just("post"), STEPS_S, st.integers(0, 2), st.integers(1, 400))
OVER = st.tuples(st.just("end"), STEPS_S, st.integers(0, 9), ENDS)
AGAIN = st.tuples(st.just("again"), STEPS_S, st.integers(0, 9))
LIMITS = st.tuples(
    *(st.none() | st.integers(0, 6), st.none() | st.integers(0, 12)),
    *(st.none() | st.integers(0, 2500), st.none() | st.integers(0, 5000)),
    st.none() | st.integers(1, 4),
)


class Life:
    """One user's posts and what became of them, at times that the test chooses."""

    def __init__(self, conn: Connection, limits: Sequence[int | None]) -> None:
        names = ("messages_per_day", "messages_per_month", "tokens_per_day", "tokens_per_month")
        granted = dict(zip((*names, "concurrent_replies"), limits, strict=True))
        self.limits = limits
        self.user_id = new_id()
        self.rooms = [new_id() for _ in range(3)]
        self.now = BEGIN
        self.open: list[tuple[UUID, Posted]] = []
        self.told: list[tuple[UUID, ReplyEnd]] = []
        self._terms = Terms(Entitlements.model_validate(granted), 1000, 500)
        self._conn = conn

    async def begin(self) -> None:
        await self._conn.executemany(
            "INSERT INTO chatroom (id, user_id, title, created_at, active_at)"
            " VALUES ($1, $2, 'Tea', $3, $3)",
            [(room, self.user_id, BEGIN) for room in self.rooms],
        )

    async def post(self, room: int, length: int) -> Posted:
        last: UUID | None = None
        while True:
            message_id = new_id(after=last)
            posted = await messages.post_message(
                self._conn,
                Draft(self.user_id, self.rooms[room], "x" * length),
                message_id=message_id,
                reply_id=new_id(after=message_id),
                event_ids=[new_id() for _ in range(3)],
                now=self.now,
                terms=self._terms,
                traceparent=None,
            )
            if posted.outcome != "behind":
                break
            last = posted.last_id
        if posted.outcome == "accepted":
            self.open.append((self.rooms[room], posted))
        return posted

    async def end(self, which: int, how: str) -> None:
        if not self.open:
            return
        room, posted = self.open.pop(which % len(self.open))
        status, _, written = how.partition(", ")
        content = "hi" if written or status == "completed" else ""
        held: int = await self._conn.fetchval(
            "SELECT tokens FROM message WHERE id = $1", posted.reply_id
        )
        end: Any = {"status": status, "content": content, "tokens": held * (which + 1) // 10}
        told = new_id(), ReplyEnd(posted.reply_id, room, self.user_id, attempt=1, **end)
        self.told.append(told)
        await self._tell(*told)

    async def again(self, which: int) -> None:
        """Deliver an old event once more, and news of that reply under another id."""
        if self.told:
            event_id, end = self.told[which % len(self.told)]
            await self._tell(event_id, end)
            await self._tell(new_id(), end)

    async def _tell(self, event_id: UUID, end: ReplyEnd) -> None:
        await replies.end_reply(
            self._conn,
            end,
            event_id=event_id,
            event_ids=[new_id() for _ in range(3)],
            now=self.now,
            traceparent=None,
        )

    async def counted(self) -> list[int]:
        """Return what the rows say, told apart from what was counted."""
        rows = await self._conn.fetch(
            "SELECT counted_on, status, content, tokens FROM message"
            " WHERE user_id = $1 AND role = 'assistant'",
            self.user_id,
        )
        kept: date | None = await self._conn.fetchval(
            "SELECT day FROM quota WHERE user_id = $1", self.user_id
        )
        today = max(self.now.date(), kept or date.min)
        mine = [row for row in rows if row["content"] or row["status"] in {"queued", "running"}]
        of_day = [row for row in mine if row["counted_on"] == today]
        of_month = [row for row in mine if row["counted_on"] >= today.replace(day=1)]
        return [
            len(of_day),
            len(of_month),
            sum(row["tokens"] for row in of_day),
            sum(row["tokens"] for row in of_month),
            sum(row["status"] in {"queued", "running"} for row in rows),
        ]

    async def used(self) -> Sequence[int]:
        state = await quotas.quota_state(
            self._conn, self.user_id, now=self.now, unbilled=self._terms.unbilled
        )
        assert list(state.limits) == list(self.limits)
        return state.used


def fits(before: Sequence[int], needs: Sequence[int], limits: Sequence[int | None]) -> bool:
    return all(
        limit is None or used + need <= limit
        for used, need, limit in zip(before, needs, limits, strict=True)
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(  # replies that end on another day, and in another month, than they were asked for
    limits=(None, None, 2500, 5000, None),
    steps=[
        *[("post", 0, 0, 5), ("post", 30 * 3600, 1, 5), ("end", 0, 0, "completed")],
        *[("post", 9 * 86_400, 2, 5), ("end", 0, 0, "failed"), ("end", 0, 0, "completed")],
    ],
)
@given(limits=LIMITS, steps=st.lists(POSTS | POSTS | OVER | AGAIN, min_size=4, max_size=30))
async def test_what_is_counted_is_what_happened_and_never_more_than_is_granted(
    kept_outbox: None, app: FastAPI, conn: Connection, limits: Any, steps: list[Any]
) -> None:
    """C5, R3: through midnights, new months, failures, stops and repetitions."""
    life = Life(conn, limits)
    await life.begin()

    for kind, seconds, *what in steps:
        life.now += timedelta(seconds=seconds)
        if kind == "post":
            before = await life.counted()
            posted = await life.post(*what)
            tokens = posted.tokens or 0
            fitting = fits(before, [1, 1, tokens, tokens, 1], limits)
            assert (posted.outcome == "accepted") == fitting, (before, posted)
        elif kind == "end":
            await life.end(*what)
        else:
            await life.again(*what)
        counted = await life.counted()
        assert list(await life.used()) == counted
        assert all(
            limit is None or used <= limit for used, limit in zip(counted, limits, strict=True)
        )

    while life.open:
        await life.end(3, "completed")
    used = await life.used()
    assert list(used) == await life.counted()
    assert used[4] == 0

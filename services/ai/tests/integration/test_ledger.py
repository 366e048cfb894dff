"""What was spent: one row per ended generation, with Gemini's own figures."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from libs.common.db import Connection
from libs.common.events import AIReplyReady, Event, Usage
from libs.common.testing import eventually
from services.ai.actions import replies, stops
from services.ai.catalogue import PRICE_VERSION, cost_of
from services.ai.resources import Resources
from services.ai.tests.integration.asking import posted, stop_of

pytestmark = pytest.mark.integration
QUICK = "services.ai.rules.FIRST_PAUSE_S"


async def row_of(conn: Connection, subject_id: UUID) -> dict[str, Any]:
    row = await conn.fetchrow("SELECT * FROM usage_ledger WHERE subject_id = $1", subject_id)
    assert row is not None
    return dict(row)


async def test_the_row_of_a_reply_has_geminis_figures_and_their_price(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    # Long enough for Gemini to have some of it cached.
    history = [{"role": "user", "content": "word " * 2000}, {"role": "assistant", "content": "a"}]
    event = posted("tell me about tea", history=history)

    await replies.answer_message(res, event)

    ready = announced[-1]
    assert isinstance(ready, AIReplyReady)
    row = await row_of(conn, event.reply_id)
    told = Usage(**{name: row[f"{name}_tokens"] for name in Usage.model_fields})
    assert told == ready.usage
    assert min(told.cached, told.thoughts, told.output) > 0
    assert told.total == told.prompt + told.output + told.thoughts + told.tools
    assert (row["cost_micros"], row["price_version"]) == cost_of(told, ready.model)
    assert (row["kind"], row["model"], row["estimated"]) == ("reply", ready.model, False)
    assert row["cost_micros"] > 0
    assert row["price_version"] == PRICE_VERSION
    assert (row["user_id"], row["chatroom_id"]) == (event.user_id, event.chatroom_id)


@pytest.mark.parametrize(
    ("mode", "estimated"),
    [
        ("e429", False),  # refused calls cost nothing
        ("empty", True),
        ("max_tokens_empty", False),
        ("cut", True),
        ("stall", True),
        ("truncated", True),
    ],
)
async def test_the_row_of_a_reply_that_took_two_calls_has_both(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    announced: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    estimated: bool,
) -> None:
    monkeypatch.setattr(QUICK, 0.01)
    await gemini.post("/_emulator/faults", json={"mode": mode, "retry_after_s": 0})
    event = posted()

    await replies.answer_message(res, event)

    ready = announced[-1]
    assert isinstance(ready, AIReplyReady)
    row = await row_of(conn, event.reply_id)
    assert row["estimated"] is estimated
    if mode == "e429":
        assert row["total_tokens"] == ready.usage.total
    else:
        assert row["total_tokens"] > ready.usage.total
    parts = ("prompt_tokens", "output_tokens", "thoughts_tokens", "tools_tokens")
    assert row["total_tokens"] == sum(row[part] for part in parts)


async def test_there_are_as_many_rows_as_generations_that_ended(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
    announced: list[Event],
) -> None:
    monkeypatch.setattr(QUICK, 0.01)
    events = [posted() for _ in range(20)]
    for mode in ("safety", "cut", "e503", "blocked", "truncated", "e400"):
        await gemini.post("/_emulator/faults", json={"mode": mode, "times": 2})

    await asyncio.gather(
        *(replies.answer_message(res, event) for event in events),
        *(replies.answer_message(res, event) for event in events[:5]),
        *(stops.stop_reply(res, stop_of(event)) for event in events[10:]),
    )
    await stops.stop_reply(res, stop_of(posted()))

    ended = await conn.fetch("SELECT id FROM generation WHERE status <> 'running'")
    rows = await conn.fetch("SELECT * FROM usage_ledger")
    assert {row["id"] for row in ended} == {row["subject_id"] for row in rows}
    assert len(rows) == len(ended) == 21
    for row in rows:
        assert row["total_tokens"] == (
            row["prompt_tokens"]
            + row["output_tokens"]
            + row["thoughts_tokens"]
            + row["tools_tokens"]
        )
        assert row["cached_tokens"] <= row["prompt_tokens"]
    billed = {e.reply_id: e.usage.total for e in announced if isinstance(e, AIReplyReady)}
    assert all(row["total_tokens"] >= billed.get(row["subject_id"], 0) for row in rows)


async def test_a_row_is_stored_together_with_its_end_or_not_at_all(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = posted()
    await conn.execute(f"ALTER TABLE outbox ADD CHECK (type <> '{AIReplyReady.TYPE}') NOT VALID")
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await replies.answer_message(res, event)
    finally:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_type_check")

    assert await conn.fetchval("SELECT count(*) FROM usage_ledger") == 0
    assert await conn.fetchval("SELECT status FROM generation") == "running"


async def test_a_title_has_a_row_of_its_own(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection
) -> None:
    event = posted(wants_title=True)
    await replies.answer_message(res, event)

    async def kinds() -> bool:
        rows = await conn.fetch(
            "SELECT kind FROM usage_ledger WHERE subject_id = $1 ORDER BY kind", event.reply_id
        )
        return [row["kind"] for row in rows] == ["reply", "title"]

    assert await eventually(kinds)

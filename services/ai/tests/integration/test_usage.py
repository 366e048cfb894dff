"""What users are told that they used: the ledger, summed."""

from datetime import datetime, timedelta
from uuid import UUID

import httpx2
import pytest

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import Usage
from services.ai.actions import replies, stops
from services.ai.resources import Resources
from services.ai.tests.integration.asking import posted, stop_of

pytestmark = pytest.mark.integration
KINDS = tuple(Usage.model_fields)


async def insert(
    conn: Connection,
    user_id: UUID,
    *,
    ended_at: datetime,
    cost: int = 7,
    kind: str = "reply",
    model: str = "m",
    chatroom_id: UUID | None = None,
) -> None:
    await conn.execute(
        """
        INSERT INTO usage_ledger (kind, subject_id, user_id, chatroom_id, model, prompt_tokens,
            cached_tokens, output_tokens, thoughts_tokens, tools_tokens, total_tokens,
            price_version, cost_micros, estimated, ended_at)
        VALUES ($1, $2, $3, $4, $5, 10, 1, 5, 3, 2, 20, 'v', $6, false, $7)
        """,
        kind,
        new_id(),
        user_id,
        chatroom_id or new_id(),
        model,
        cost,
        ended_at,
    )


async def ledger_sum(conn: Connection, where: str, *values: object) -> dict[str, object]:
    """Return what the answer has to say of these rows."""
    sums = ", ".join(f"coalesce(sum({kind}_tokens), 0)::bigint AS {kind}" for kind in KINDS)
    row = await conn.fetchrow(
        f"""
        SELECT count(*) FILTER (WHERE kind = 'reply' AND model <> '') AS messages,
            coalesce(sum(cost_micros), 0)::bigint AS cost_micros, {sums}
        FROM usage_ledger WHERE {where}
        """,
        *values,
    )
    assert row is not None
    return {
        "messages": row["messages"],
        "tokens": {kind: row[kind] for kind in KINDS},
        "cost_micros": row["cost_micros"],
    }


async def test_who_used_nothing_is_told_so(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/usage")

    assert answer.status_code == 200
    report = answer.json()
    zero = {"messages": 0, "tokens": dict.fromkeys(KINDS, 0), "cost_micros": 0}
    assert {**report["today"], "since": ""} == {**zero, "since": ""}
    assert {**report["month"], "since": ""} == {**zero, "since": ""}
    assert (report["by_model"], report["by_chatroom"]) == ([], [])
    assert report["currency"] == "USD"


async def test_the_answer_equals_the_ledger(
    client: httpx2.AsyncClient,
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    user_id: UUID,
) -> None:
    """Of true replies, one that was stopped before its begin, and others of other times."""
    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    for event in (posted(user_id=user_id), posted(user_id=user_id, model="gemini-2.5-pro")):
        await replies.answer_message(res, event)
    await stops.stop_reply(res, stop_of(posted(user_id=user_id)))
    await replies.answer_message(res, posted())  # another's
    instant = timedelta(microseconds=1)
    for ended_at in (month, month - instant, today, today - instant):
        await insert(conn, user_id, ended_at=ended_at, kind="title")

    report = (await client.get("/usage")).json()

    mine, since = "user_id = $1 AND ended_at >= $2", "since"
    of_today = await ledger_sum(conn, mine, user_id, today)
    of_month = await ledger_sum(conn, mine, user_id, month)
    assert report["today"] == {**of_today, since: today.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert report["month"] == {**of_month, since: month.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert of_month["messages"] == 2
    for part, column in (("by_model", "model"), ("by_chatroom", "chatroom_id")):
        name = part.removeprefix("by_") + ("_id" if part == "by_chatroom" else "")
        assert report[part]
        for each in report[part]:
            value = UUID(each[name]) if part == "by_chatroom" else each[name]
            sums = await ledger_sum(conn, f"{mine} AND {column} = $3", user_id, month, value)
            assert each == {**sums, name: each[name]}
        assert sum(each["cost_micros"] for each in report[part]) == of_month["cost_micros"]
    assert {each["model"] for each in report["by_model"]} == {
        *("m", "gemini-2.5-pro", res.settings.gemini_model)
    }


async def test_of_many_rooms_the_twenty_dearest_are_named_dearest_first(
    client: httpx2.AsyncClient, conn: Connection, user_id: UUID
) -> None:
    for cost in range(25):
        await insert(conn, user_id, ended_at=utc_now(), cost=cost)

    report = (await client.get("/usage")).json()

    costs = [each["cost_micros"] for each in report["by_chatroom"]]
    assert costs == list(range(24, 4, -1))
    assert report["month"]["cost_micros"] == sum(range(25))

"""Sums of the ledger."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import Usage
from services.ai.models import Spent


async def sum_usage(
    conn: Connection, user_id: UUID, *, month: datetime, today: datetime, rooms: int
) -> list[Spent]:
    """Return what the user has used since the instant `month`, and of that since `today`.

    In one statement, so that all sums are of one moment. The month is always there, today if
    anything was used; models and at most `rooms` chatrooms come with the dearest first. What ended
    before any model was asked is not in it: it has used nothing.
    """
    rows = await conn.fetch(
        """
        WITH used AS (
            SELECT *, ended_at >= $3 AS today FROM usage_ledger
            WHERE user_id = $1 AND ended_at >= $2 AND model <> ''
        ), summed AS (
            SELECT today, model, chatroom_id,
                CASE
                    WHEN grouping(today) = 0 THEN 'today'
                    WHEN grouping(model) = 0 THEN 'model'
                    WHEN grouping(chatroom_id) = 0 THEN 'chatroom'
                    ELSE 'month'
                END AS scope,
                count(*) FILTER (WHERE kind = 'reply') AS messages,
                coalesce(sum(prompt_tokens), 0)::bigint AS prompt,
                coalesce(sum(cached_tokens), 0)::bigint AS cached,
                coalesce(sum(output_tokens), 0)::bigint AS output,
                coalesce(sum(thoughts_tokens), 0)::bigint AS thoughts,
                coalesce(sum(tools_tokens), 0)::bigint AS tools,
                coalesce(sum(total_tokens), 0)::bigint AS total,
                coalesce(sum(cost_micros), 0)::bigint AS cost_micros
            FROM used
            GROUP BY GROUPING SETS ((), (today), (model), (chatroom_id))
        ), ranked AS (
            SELECT *, row_number() OVER (
                PARTITION BY scope ORDER BY cost_micros DESC, total DESC, model, chatroom_id
            ) AS rank
            FROM summed WHERE today IS NOT FALSE
        )
        SELECT scope, model, chatroom_id, messages, prompt, cached, output, thoughts, tools, total,
            cost_micros
        FROM ranked WHERE scope <> 'chatroom' OR rank <= $4
        ORDER BY scope, rank
        """,
        user_id,
        month,
        today,
        rooms,
    )
    return [
        Spent(
            scope=row["scope"],
            model=row["model"],
            chatroom_id=row["chatroom_id"],
            messages=row["messages"],
            tokens=Usage(**{name: row[name] for name in Usage.model_fields}),
            cost_micros=row["cost_micros"],
        )
        for row in rows
    ]

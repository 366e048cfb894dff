"""SQL of why users have the standing that they have."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.common.db import Connection
from services.billing.timeline_models import Cause, Effect, EventName, TimelineEntry


async def insert_entry(
    conn: Connection,
    user_id: UUID,
    *,
    at: datetime,
    cause: Cause,
    effect: Effect,
    before: dict[str, Any],
    after: dict[str, Any],
    events: list[EventName] | None = None,
) -> None:
    """Add to the user's timeline; the user must be a customer."""
    await conn.execute(
        """
        INSERT INTO timeline (user_id, at, cause, effect, events, before, after)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        user_id,
        at,
        cause,
        effect,
        orjson.dumps(events or []).decode(),
        orjson.dumps(before, option=orjson.OPT_UTC_Z).decode(),
        orjson.dumps(after, option=orjson.OPT_UTC_Z).decode(),
    )


async def list_entries(
    conn: Connection, user_id: UUID, *, before: int | None, limit: int | None
) -> list[TimelineEntry]:
    """Return up to `limit` entries ahead of number `before`, latest first; None for all of them."""
    rows = await conn.fetch(
        """
        SELECT seq, at, cause, effect, events, before, after
        FROM timeline
        WHERE user_id = $1 AND ($2::bigint IS NULL OR seq < $2)
        ORDER BY seq DESC LIMIT $3
        """,
        user_id,
        before,
        limit,
    )
    return [_entry(row) for row in rows]


def _entry(row: Any) -> TimelineEntry:
    texts = {name: orjson.loads(row[name]) for name in ("events", "before", "after")}
    return TimelineEntry(**{**row, **texts})

"""Who writes which reply, and how it ended."""

from datetime import datetime
from uuid import UUID

from libs.common import outbox
from libs.common.db import COMMAND_TIMEOUT_S, Connection
from libs.common.events import AIReplyFailed, AIReplyReady, AIReplyStopped, MessagePosted
from services.ai.models import Charge, Claim, Running

End = AIReplyReady | AIReplyFailed | AIReplyStopped
_STATUS: dict[type[End], str] = {
    AIReplyReady: "completed",
    AIReplyFailed: "failed",
    AIReplyStopped: "stopped",
}


async def hold_worker_lock(conn: Connection, worker: int) -> None:
    """Lock `worker` for as long as the connection lives; waits for an older connection's end."""
    await conn.execute("SELECT pg_advisory_lock($1)", worker)


async def claim_generation(
    conn: Connection,
    event: MessagePosted,
    *,
    model: str,
    worker: int,
    now: datetime,
    cost_micros: int,
    day_limit: int | None,
) -> Claim | None:
    """Make `worker` the one that writes the reply to `event`, and hold what it may cost, once.

    None if the reply has ended, its worker lives or the user was deleted. A worker lives as long as
    it holds its advisory lock; `worker` itself counts as gone, so that a handler that failed can
    start over. `day_limit` is the installation's, in micro-dollars, None for none.
    """
    row = await conn.fetchrow(
        """
        SELECT attempt, stop_requested, refused
        FROM claim_generation($1, $2, $3, $4, $5, $6, $7, $8)
        WHERE attempt IS NOT NULL
        """,
        event.reply_id,
        event.user_id,
        event.chatroom_id,
        worker,
        model,
        now,
        cost_micros,
        day_limit,
    )
    return None if row is None else Claim(**row)


async def release_generations(conn: Connection, generation_ids: list[UUID], *, worker: int) -> None:
    """Give up what `worker` owns of these, so that any worker may claim it."""
    await conn.execute(
        """
        UPDATE generation SET worker = 0
        WHERE id = ANY($1) AND worker = $2 AND status = 'running'
        """,
        generation_ids,
        worker,
        timeout=COMMAND_TIMEOUT_S,
    )


async def has_ended(conn: Connection, generation_id: UUID) -> bool:
    """Tell whether the generation exists and no longer runs."""
    ended: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM generation WHERE id = $1 AND status <> 'running')",
        generation_id,
    )
    return ended


async def raise_attempt(
    conn: Connection, generation_id: UUID, *, attempt: int, worker: int
) -> int | None:
    """Begin the next attempt; None if another worker took over."""
    raised: int | None = await conn.fetchval(
        """
        UPDATE generation SET attempt = attempt + 1
        WHERE id = $1 AND attempt = $2 AND worker = $3 AND status = 'running'
        RETURNING attempt
        """,
        generation_id,
        attempt,
        worker,
    )
    return raised


async def insert_tombstone(
    conn: Connection, generation_id: UUID, *, user_id: UUID, chatroom_id: UUID, now: datetime
) -> bool:
    """Store a reply as stopped before anyone began it, with its ledger row.

    False if one did begin it, or the user was deleted.
    """
    made = await conn.fetchval(
        """
        WITH made AS (
            INSERT INTO generation (id, user_id, chatroom_id, status, attempt, worker, model,
                created_at, stop_requested_at, ended_at)
            SELECT $1, $2, $3, 'stopped', 1, 0, '', $4, $4, $4 WHERE NOT is_deleted_user($2)
            ON CONFLICT DO NOTHING
            RETURNING id
        )
        INSERT INTO usage_ledger (
            kind, subject_id, user_id, chatroom_id, model, prompt_tokens, cached_tokens,
            output_tokens, thoughts_tokens, tools_tokens, total_tokens, price_version, cost_micros,
            estimated, ended_at)
        SELECT 'reply', id, $2, $3, '', 0, 0, 0, 0, 0, 0, 'unpriced', 0, false, $4 FROM made
        RETURNING true
        """,
        generation_id,
        user_id,
        chatroom_id,
        now,
    )
    return made is not None


async def request_stop(
    conn: Connection, generation_id: UUID, *, user_id: UUID, now: datetime
) -> Running | None:
    """Note that the user wants an end, and lock the row; None if nothing of the user's runs."""
    row = await conn.fetchrow(
        """
        UPDATE generation SET stop_requested_at = coalesce(stop_requested_at, $3)
        WHERE id = $1 AND user_id = $2 AND status = 'running'
        RETURNING attempt, worker, model, CASE
            WHEN worker = 0 THEN true
            ELSE pg_try_advisory_xact_lock_shared(worker) END AS is_orphan
        """,
        generation_id,
        user_id,
        now,
    )
    return None if row is None else Running(**row)


async def notify_worker(conn: Connection, channel: str, generation_id: UUID) -> None:
    """Tell the worker that listens on `channel`, once the transaction commits."""
    await conn.execute("SELECT pg_notify($1, $2::text)", channel, str(generation_id))


async def asked_to_stop(conn: Connection, generation_ids: list[UUID]) -> list[UUID]:
    """Return those whose users want an end."""
    rows = await conn.fetch(
        """
        SELECT id FROM generation
        WHERE id = ANY($1) AND status = 'running' AND stop_requested_at IS NOT NULL
        """,
        generation_ids,
        timeout=COMMAND_TIMEOUT_S,
    )
    return [row["id"] for row in rows]


async def end_generation(
    conn: Connection,
    event: End,
    charge: Charge,
    *,
    worker: int,
    now: datetime,
    counts_days: bool,
) -> bool:
    """Store the end of an attempt with its ledger row and the event that announces it.

    What it cost goes into the budget, and what was held for it leaves it; `counts_days` tells
    whether the installation has one. None of it, and false, if the attempt is no longer the newest,
    or has ended.
    """
    ended = await conn.fetchval(
        """
        WITH ended AS (
            UPDATE generation SET status = $4, finish_reason = $5, problem_code = $6,
                model = $7, ended_at = $8
            WHERE id = $1 AND attempt = $2 AND worker = $3 AND status = 'running'
            RETURNING id, user_id, chatroom_id, reserved_micros, reserved_month, reserved_day
        ), charged AS (
            INSERT INTO usage_ledger (
                kind, subject_id, user_id, chatroom_id, model, prompt_tokens, cached_tokens,
                output_tokens, thoughts_tokens, tools_tokens, total_tokens, price_version,
                cost_micros, estimated, ended_at)
            SELECT 'reply', id, user_id, chatroom_id, $7, $9::bigint, $10::bigint, $11::bigint,
                $12::bigint, $13::bigint, $14::bigint, $15::text, $16::bigint, $17::boolean, $8
            FROM ended
        ), settled AS MATERIALIZED (
            SELECT settle_cost(user_id, $8, $16, $22, reserved_micros, reserved_month, reserved_day)
            FROM ended
        )
        INSERT INTO outbox (event_id, type, payload, traceparent)
        SELECT $18, $19, $20, $21 FROM settled
        RETURNING true
        """,
        event.reply_id,
        event.attempt,
        worker,
        _STATUS[type(event)],
        event.finish_reason if isinstance(event, AIReplyReady) else None,
        event.code if isinstance(event, AIReplyFailed) else None,
        charge.model,
        now,
        *charge.columns(),
        *outbox.row(event),
        counts_days,
    )
    return ended is not None

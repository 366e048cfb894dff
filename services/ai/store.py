"""All of ai's SQL. One function is one statement; the caller owns the transaction."""

from datetime import datetime
from uuid import UUID

from libs.common.db import COMMAND_TIMEOUT_S, Connection
from services.ai.models import Draft


async def hold_worker_lock(conn: Connection, worker: int) -> None:
    """Lock `worker` for as long as the connection lives; waits for an older connection's end."""
    await conn.execute("SELECT pg_advisory_lock($1)", worker)


async def claim_generation(
    conn: Connection,
    *,
    generation_id: UUID,
    user_id: UUID,
    chatroom_id: UUID,
    worker: int,
    model: str,
    now: datetime,
) -> int | None:
    """Make `worker` the one that writes the reply; return its attempt, from 1.

    None if the reply has ended or its worker lives. A worker lives as long as it holds its advisory
    lock; `worker` itself counts as gone, so that a handler that failed can start over.
    """
    attempt: int | None = await conn.fetchval(
        """
        INSERT INTO generation AS g
            (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
        VALUES ($1, $2, $3, 'running', 1, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET attempt = g.attempt + 1, worker = EXCLUDED.worker
        WHERE g.status = 'running' AND CASE
            WHEN g.worker = EXCLUDED.worker THEN true
            ELSE pg_try_advisory_xact_lock_shared(g.worker) -- shared: many may claim at once
        END
        RETURNING attempt
        """,
        generation_id,
        user_id,
        chatroom_id,
        worker,
        model,
        now,
    )
    return attempt


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


async def end_generation(
    conn: Connection,
    generation_id: UUID,
    draft: Draft,
    *,
    status: str,
    worker: int,
    problem_code: str | None,
    now: datetime,
) -> bool:
    """Store the end of an attempt; false if it is no longer the newest, or has ended."""
    ended = await conn.fetchval(
        """
        UPDATE generation SET status = $4, finish_reason = nullif($5, ''), problem_code = $6,
            prompt_tokens = $7, cached_tokens = $8, output_tokens = $9, thoughts_tokens = $10,
            total_tokens = $11, ended_at = $12
        WHERE id = $1 AND attempt = $2 AND worker = $3 AND status = 'running'
        RETURNING true
        """,
        generation_id,
        draft.attempt,
        worker,
        status,
        draft.finish_reason,
        problem_code,
        draft.usage.prompt,
        draft.usage.cached,
        draft.usage.output,
        draft.usage.thoughts,
        draft.usage.total,
        now,
    )
    return ended is not None

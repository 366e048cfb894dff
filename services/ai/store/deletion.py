"""SQL of a user's end."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


async def stop_generations(conn: Connection, user_id: UUID, *, now: datetime) -> list[UUID]:
    """Ask for the end of what is being written for the user, and tell the workers who write it.

    Returns:
        What a living worker writes still. What a dead one left behind is nobody's.
    """
    rows = await conn.fetch(
        """
        WITH asked AS (
            UPDATE generation SET stop_requested_at = coalesce(stop_requested_at, $2)
            WHERE user_id = $1 AND status = 'running'
            RETURNING id, worker
        ), alive AS MATERIALIZED (
            SELECT id, worker FROM asked
            WHERE worker <> 0 AND NOT pg_try_advisory_xact_lock_shared(worker)
        )
        SELECT id, pg_notify('ai_stop_' || worker, id::text) FROM alive
        """,
        user_id,
        now,
    )
    return [row["id"] for row in rows]


async def list_streams(conn: Connection, user_id: UUID) -> list[tuple[UUID, UUID]]:
    """Return chatroom and reply of every generation of the user."""
    rows = await conn.fetch("SELECT chatroom_id, id FROM generation WHERE user_id = $1", user_id)
    return [(row["chatroom_id"], row["id"]) for row in rows]


async def delete_generations(conn: Connection, user_id: UUID) -> None:
    """Delete who wrote what for the user, and what the user may choose.

    What a dead worker still held of the installation's day is free again.
    """
    await conn.execute(
        """
        WITH granted AS (
            DELETE FROM entitlement WHERE user_id = $1
        ), generations AS (
            DELETE FROM generation WHERE user_id = $1
            RETURNING status, reserved_micros, reserved_day
        ), held AS (
            SELECT reserved_day AS day, sum(reserved_micros) AS micros FROM generations
            WHERE status = 'running' AND reserved_day IS NOT NULL
            GROUP BY reserved_day
        )
        UPDATE daily_budget SET reserved_micros = reserved_micros - held.micros
        FROM held WHERE daily_budget.day = held.day
        """,
        user_id,
    )


async def delete_budget(conn: Connection, user_id: UUID) -> None:
    """Delete what the user may spend, after `delete_generations` and in its transaction.

    By a statement of its own, for that one has waited for a generation that was just ending: this
    one sees what its end has settled.
    """
    await conn.execute("DELETE FROM budget WHERE user_id = $1", user_id)


async def anonymise_ledger(conn: Connection, user_id: UUID) -> None:
    """Let the user's charges be nobody's, of no room and no reply, and of a day."""
    await conn.execute(
        """
        UPDATE usage_ledger
        SET user_id = NULL, chatroom_id = NULL, subject_id = gen_random_uuid(),
            ended_at = date_trunc('day', ended_at, 'UTC')
        WHERE user_id = $1
        """,
        user_id,
    )

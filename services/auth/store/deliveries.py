"""SQL of codes on their way."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.auth.models import Channel, Delivery


async def insert_delivery(
    conn: Connection,
    delivery_id: UUID,
    *,
    channel: Channel,
    sealed: bytes,
    due_at: datetime,
    expires_at: datetime,
) -> None:
    """Store a message that shall go out."""
    await conn.execute(
        """
        INSERT INTO code_delivery (id, channel, sealed, due_at, expires_at)
        VALUES ($1, $2, $3, $4, $5)
        """,
        delivery_id,
        channel,
        sealed,
        due_at,
        expires_at,
    )


async def claim_due(
    conn: Connection, *, now: datetime, until: datetime, limit: int
) -> list[Delivery]:
    """Take up to `limit` messages that are due; they are nobody else's before `until`."""
    rows = await conn.fetch(
        """
        UPDATE code_delivery SET attempts = attempts + 1, due_at = $2
        WHERE id IN (
            SELECT id FROM code_delivery
            WHERE status = 'queued' AND due_at <= $1 AND expires_at > $1
            ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, channel, sealed, attempts
        """,
        now,
        until,
        limit,
    )
    return [Delivery(**row) for row in rows]


async def mark_sent(
    conn: Connection, delivery_id: UUID, *, provider: str, provider_id: str
) -> None:
    """Note who took the message, and forget what it said and to whom."""
    await conn.execute(
        """
        UPDATE code_delivery
        SET status = 'sent', provider = $2, provider_id = $3, error = NULL, sealed = NULL
        WHERE id = $1
        """,
        delivery_id,
        provider,
        provider_id,
    )


async def mark_failed(
    conn: Connection, delivery_id: UUID, *, provider: str | None, error: str
) -> None:
    """Give the message up, and forget what it said and to whom."""
    await conn.execute(
        """
        UPDATE code_delivery SET status = 'failed', provider = $2, error = $3, sealed = NULL
        WHERE id = $1 AND status = 'queued'
        """,
        delivery_id,
        provider,
        error,
    )


async def postpone(
    conn: Connection, delivery_id: UUID, *, due_at: datetime, provider: str, error: str
) -> None:
    """Let the message be tried again from `due_at` on."""
    await conn.execute(
        """
        UPDATE code_delivery SET due_at = $2, provider = $3, error = $4
        WHERE id = $1 AND status = 'queued'
        """,
        delivery_id,
        due_at,
        provider,
        error,
    )


async def fail_expired(conn: Connection, now: datetime) -> None:
    """Give up the messages whose codes nobody accepts any more; the last error stays."""
    await conn.execute(
        """
        UPDATE code_delivery
        SET status = 'failed', error = coalesce(error, 'expired'), sealed = NULL
        WHERE id IN (
            SELECT id FROM code_delivery WHERE status = 'queued' AND expires_at <= $1
            FOR UPDATE SKIP LOCKED
        )
        """,
        now,
    )


async def delete_stale_deliveries(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` messages whose codes expired before then."""
    await conn.execute(
        """
        DELETE FROM code_delivery WHERE id IN (
            SELECT id FROM code_delivery WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

"""SQL of what networks did lately."""

from datetime import datetime

from libs.common.db import Connection


async def count_address(
    conn: Connection, address_hash: bytes, *, now: datetime, since: datetime
) -> tuple[int, datetime]:
    """Count one more and return how many there were, and from when on.

    One statement, so that concurrent calls cannot share a number. A count that began at `since`
    or before starts over.
    """
    (row,) = await conn.fetch(
        """
        INSERT INTO address_count AS a (address_hash, count, since) VALUES ($1, 1, $2)
        ON CONFLICT (address_hash) DO UPDATE
        SET count = CASE WHEN a.since <= $3 THEN 1 ELSE a.count + 1 END,
            since = CASE WHEN a.since <= $3 THEN EXCLUDED.since ELSE a.since END
        RETURNING count, since
        """,
        address_hash,
        now,
        since,
    )
    return row["count"], row["since"]


async def uncount_address(conn: Connection, address_hash: bytes, *, since: datetime) -> None:
    """Take one back, unless the count that it belongs to is over."""
    await conn.execute(
        "UPDATE address_count SET count = count - 1 WHERE address_hash = $1 AND since = $2",
        address_hash,
        since,
    )


async def delete_stale_addresses(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` counts that began before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM address_count WHERE address_hash IN (
            SELECT address_hash FROM address_count WHERE since < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

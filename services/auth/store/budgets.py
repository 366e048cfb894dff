"""SQL of what sends used up lately."""

from datetime import datetime

from libs.common.db import Connection


async def use_budget(
    conn: Connection,
    name: str,
    *,
    amount: int,
    limit: int,
    free: int,
    per_verified: int,
    now: datetime,
    since: datetime,
) -> bool:
    """Take `amount` of a budget, all or nothing, and tell whether that was possible.

    One statement, so that concurrent calls cannot share what is left; the row is locked until
    commit. A budget that began at `since` or before starts over.

    Args:
        conn: where.
        name: which budget.
        amount: what is taken.
        limit: what there is.
        free: what may be taken of it before any code came back.
        per_verified: what each code that came back adds to that.
        now: UTC.
        since: how far back a budget counts.
    """
    taken = await conn.fetchval(
        """
        INSERT INTO send_budget AS b (name, since, used)
        SELECT $1, $3, $2 WHERE $2::integer <= least($5::integer, $6::integer)
        ON CONFLICT (name) DO UPDATE
        SET used = CASE WHEN b.since <= $4 THEN $2 ELSE b.used + $2 END,
            verified = CASE WHEN b.since <= $4 THEN 0 ELSE b.verified END,
            since = CASE WHEN b.since <= $4 THEN $3 ELSE b.since END
        WHERE b.since <= $4 OR b.used + $2 <= least($5, $6 + $7::integer * b.verified)
        RETURNING true
        """,
        name,
        amount,
        now,
        since,
        limit,
        free,
        per_verified,
    )
    return taken is not None


async def budget_since(conn: Connection, name: str) -> datetime | None:
    """Return when the budget began to count; None if nothing was taken of it."""
    since: datetime | None = await conn.fetchval(
        "SELECT since FROM send_budget WHERE name = $1", name
    )
    return since


async def count_verified(conn: Connection, name: str) -> None:
    """Note that a code came back."""
    await conn.execute("UPDATE send_budget SET verified = verified + 1 WHERE name = $1", name)


async def delete_stale_budgets(conn: Connection, *, before: datetime, limit: int) -> None:
    """Delete up to `limit` budgets that began before then; skips those that others hold."""
    await conn.execute(
        """
        DELETE FROM send_budget WHERE name IN (
            SELECT name FROM send_budget WHERE since < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )

"""SQL of the audit log."""

from typing import Any
from uuid import UUID

import orjson

from libs.common.db import Connection
from services.auth.models import AuditEntry


async def lock_audit(conn: Connection) -> None:
    """Make others who want to add to the log wait until commit."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('auth.audit'))")


async def last_audit(conn: Connection) -> tuple[int, bytes] | None:
    """Return number and hash of the last entry; None while there is none."""
    row = await conn.fetchrow("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return None if row is None else (row["seq"], row["hash"])


async def insert_audit(conn: Connection, entry: AuditEntry) -> None:
    """Add an entry."""
    await conn.execute(
        """
        INSERT INTO audit (seq, at, actor, subject, action, detail, prev_hash, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        entry.seq,
        entry.at,
        entry.actor,
        entry.subject,
        entry.action,
        orjson.dumps(entry.detail).decode(),
        entry.prev_hash,
        entry.hash,
    )


async def list_latest_audit(
    conn: Connection, *, subject: UUID | None, before: int | None, limit: int
) -> list[AuditEntry]:
    """Return up to `limit` entries ahead of number `before`, latest first; of one user if named."""
    rows = await conn.fetch(
        """
        SELECT seq, at, actor, subject, action, detail, prev_hash, hash
        FROM audit
        WHERE ($1::uuid IS NULL OR subject = $1) AND ($2::bigint IS NULL OR seq < $2)
        ORDER BY seq DESC LIMIT $3
        """,
        subject,
        before,
        limit,
    )
    return [_entry(row) for row in rows]


async def list_audit(conn: Connection, *, after: int, limit: int) -> list[AuditEntry]:
    """Return up to `limit` entries behind number `after`, oldest first."""
    rows = await conn.fetch(
        """
        SELECT seq, at, actor, subject, action, detail, prev_hash, hash
        FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2
        """,
        after,
        limit,
    )
    return [_entry(row) for row in rows]


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(**{**row, "detail": orjson.loads(row["detail"])})

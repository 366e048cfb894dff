"""The audit log: what happened to accounts, in a chain of hashes."""

import hashlib
from datetime import datetime
from uuid import UUID

import orjson

from libs.common.clock import utc_now
from libs.common.db import Connection, Pool
from services.auth.models import AuditAction, AuditDetail, AuditEntry, AuditValue
from services.auth.resources import Resources
from services.auth.store import audit

_GENESIS = bytes(32)
_BATCH = 1000


class AuditBrokenError(Exception):
    """The log is not what was written."""


async def record(
    conn: Connection,
    action: AuditAction,
    *,
    subject: UUID | None,
    actor: UUID | None,
    **detail: AuditValue,
) -> None:
    """Add an entry in the caller's transaction, as its last step: writers wait for one another.

    Args:
        conn: in the transaction of what the entry tells.
        action: what was done.
        subject: the user it was done to, if to one.
        actor: the user who did it; None for the system or its operator.
        detail: whatever else matters, without personal data: no name, number, address or code.

    Raises:
        RuntimeError: there is no transaction, so the entry could tell what never happened.
    """
    if not conn.is_in_transaction():
        raise RuntimeError(f"audit.record({action}) outside a transaction")
    await audit.lock_audit(conn)
    seq, prev_hash = await audit.last_audit(conn) or (0, _GENESIS)
    at = utc_now()
    digest = _hash(seq + 1, at, actor, subject, action, detail, prev_hash)
    entry = AuditEntry(seq + 1, at, actor, subject, action, detail, prev_hash, digest)
    await audit.insert_audit(conn, entry)


async def list_latest(
    res: Resources, *, subject: UUID | None, before: int | None, limit: int
) -> list[AuditEntry]:
    """Return up to `limit` entries ahead of number `before`, latest first; of one user if named."""
    async with res.db.acquire() as conn:
        return await audit.list_latest_audit(conn, subject=subject, before=before, limit=limit)


async def verify(db: Pool) -> tuple[int, str]:
    """Return how many entries there are, and the last one's hash in hex.

    Entries cut off at the end leave no trace in what remains: compare both with those of an
    earlier look.

    Raises:
        AuditBrokenError: an entry was changed, or is missing; the message names the first.
    """
    seq, prev_hash = 0, _GENESIS
    async with db.acquire() as conn:
        while entries := await audit.list_audit(conn, after=seq, limit=_BATCH):
            for entry in entries:
                if entry.seq != seq + 1:
                    raise AuditBrokenError(f"entry {seq + 1} is missing")
                if entry.prev_hash != prev_hash or entry.hash != _hash_of(entry):
                    raise AuditBrokenError(f"entry {entry.seq} is not as it was written")
                seq, prev_hash = entry.seq, entry.hash
    return seq, prev_hash.hex()


def _hash_of(entry: AuditEntry) -> bytes:
    return _hash(
        entry.seq,
        entry.at,
        entry.actor,
        entry.subject,
        entry.action,
        entry.detail,
        entry.prev_hash,
    )


def _hash(
    seq: int,
    at: datetime,
    actor: UUID | None,
    subject: UUID | None,
    action: str,
    detail: AuditDetail,
    prev_hash: bytes,
) -> bytes:
    people = [str(user_id) if user_id else None for user_id in (actor, subject)]
    told = [seq, at.isoformat(), *people, action, detail, prev_hash.hex()]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()

"""What admins grant to users besides their plan, and take back."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from libs.common.clock import new_id, utc_now
from libs.common.errors import IdempotencyKeyReusedError, NotFoundError, ValidationFailedError
from libs.common.events import Plan
from libs.common.identity import Identity
from services.billing.actions import syncing
from services.billing.errors import GrantNotFoundError
from services.billing.models import Grant
from services.billing.resources import Resources
from services.billing.store import grants as store
from services.billing.store import standings

log = structlog.stdlib.get_logger()


async def give_grant(
    res: Resources,
    caller: Identity,
    user_id: UUID,
    *,
    plan: Plan | None,
    entitlements: dict[str, Any],
    reason: str,
    starts_at: datetime | None,
    expires_at: datetime | None,
    idempotency_key: str | None,
) -> tuple[Grant, bool]:
    """Store a grant and announce what the user may do now; return it, and whether it is new.

    Args:
        res: what billing holds open.
        caller: the admin.
        user_id: to whom.
        plan: counts in the place of what they pay for; None for that.
        entitlements: members of `Entitlements` that count in the place of the plan's.
        reason: why.
        starts_at: None for now.
        expires_at: None for never.
        idempotency_key: the admin's name of the request; the same one again grants nothing.

    Raises:
        NotFoundError: billing knows no such user.
        ValidationFailedError: it would end before it begins, or has ended already.
        IdempotencyKeyReusedError: the key was used for another grant.
    """
    now = utc_now()
    grant = Grant(
        id=new_id(),
        user_id=user_id,
        plan=plan,
        entitlements=entitlements,
        reason=reason,
        granted_by=caller.user_id,
        created_at=now,
        starts_at=starts_at or now,
        expires_at=expires_at,
    )
    if expires_at is not None and expires_at <= max(grant.starts_at, now):
        raise ValidationFailedError("expires_at must lie ahead, and behind starts_at")
    async with res.db.acquire() as conn, conn.transaction():
        if not await store.lock_customer(conn, user_id):
            raise NotFoundError("billing knows no such user; guests have no account to grant to")
        known = await standings.lock_standing(conn, user_id)
        earlier = idempotency_key and await store.find_by_key(
            conn, user_id, granted_by=caller.user_id, idempotency_key=idempotency_key
        )
        if earlier:
            _ensure_same(earlier, grant, starts_at=starts_at)
            return earlier, False
        await store.insert_grant(conn, grant, idempotency_key=idempotency_key)
        await syncing.announce(res, conn, user_id, known, known, cause="grant")
    res.relay.nudge()
    log.info("entitlements_granted", user_id=str(user_id), actor=str(caller.user_id))
    return grant, True


def _ensure_same(earlier: Grant, grant: Grant, *, starts_at: datetime | None) -> None:
    """Raise IdempotencyKeyReusedError unless the request was the same."""
    same_start = starts_at is None or earlier.starts_at == starts_at
    asked = (grant.user_id, grant.plan, grant.entitlements, grant.reason, grant.expires_at)
    if not same_start or asked != (
        *(earlier.user_id, earlier.plan, earlier.entitlements, earlier.reason),
        earlier.expires_at,
    ):
        raise IdempotencyKeyReusedError("this Idempotency-Key was used for another grant")


async def list_grants(
    res: Resources, user_id: UUID, *, before: UUID | None, limit: int
) -> list[Grant]:
    """Return the user's grants, also those that are over, newest first."""
    async with res.db.acquire() as conn:
        return await store.list_grants(conn, user_id, before=before, limit=limit)


async def end_grant(res: Resources, caller: Identity, user_id: UUID, grant_id: UUID) -> None:
    """Take a grant back and announce what the user may do now; one that is over stays so.

    Raises:
        GrantNotFoundError: the user has none of that id.
    """
    async with res.db.acquire() as conn, conn.transaction():
        if not await store.lock_customer(conn, user_id):
            raise GrantNotFoundError
        known = await standings.lock_standing(conn, user_id)
        if not await store.end_grant(conn, grant_id, user_id=user_id, at=utc_now()):
            raise GrantNotFoundError
        await syncing.announce(res, conn, user_id, known, known, cause="grant")
    res.relay.nudge()
    log.info("grant_ended", user_id=str(user_id), actor=str(caller.user_id))

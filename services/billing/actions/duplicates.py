"""Healing who subscribed twice: what is too many is cancelled, and what was paid for it given back.

It is stored before anything is done about it, and each step may be repeated: Stripe gives a payment
back once. So a crash, or a Stripe that is away, only makes it take longer.
"""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import structlog

from libs.common.clock import utc_now
from libs.common.db import Connection
from services.billing.resources import Resources
from services.billing.store import duplicates, timeline
from services.billing.timeline_models import Cause, Duplicate

log = structlog.stdlib.get_logger()


async def record(
    conn: Connection, user_id: UUID, found: list[Duplicate], *, cause: Cause, now: datetime
) -> None:
    """Store what is to be healed, and that it was found, in the caller's transaction."""
    for each in found:
        if await duplicates.insert_duplicate(conn, user_id, each, at=now):
            await timeline.insert_entry(
                conn,
                user_id,
                at=now,
                cause=cause,
                effect="duplicate_found",
                before=_told(each),
                after={},
            )


async def heal(res: Resources, conn: Connection, user_id: UUID) -> bool:
    """Cancel what the user has too many of and give it back, under their lock; false for nothing.

    Raises:
        BillingUnavailableError: Stripe gave no usable answer; another time goes on from there.
    """
    found = await duplicates.unhealed_duplicates(conn, user_id)
    for each in found:
        await res.payments.cancel_subscription(each.subscription_id)
        refunds = await res.payments.refund_payments(each.subscription_id, since=each.since)
        now = utc_now()
        async with conn.transaction():
            await duplicates.mark_healed(conn, each.subscription_id, at=now)
            await timeline.insert_entry(
                conn,
                user_id,
                at=now,
                cause="healing",
                effect="duplicate_healed",
                before=_told(each),
                after={"refunds": [asdict(refund) for refund in refunds]},
            )
        log.error(
            "duplicate_subscription_healed",
            user_id=str(user_id),
            subscription_id=each.subscription_id,
            kept_id=each.kept_id,
            refunds=len(refunds),
            refused=sum(refund.refused is not None for refund in refunds),
        )
    return bool(found)


def _told(each: Duplicate) -> dict[str, str]:
    return {"stripe_subscription_id": each.subscription_id, "kept": each.kept_id}

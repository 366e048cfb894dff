"""The timeline of a user: what changed their standing, and why."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from libs.common.clock import utc_now
from libs.common.db import Connection
from services.billing.models import KnownStanding
from services.billing.resources import Resources
from services.billing.store import timeline as store
from services.billing.timeline_models import Cause, EventName, TimelineEntryOut, TimelinePage


async def record(
    conn: Connection,
    user_id: UUID,
    known: KnownStanding,
    fresh: KnownStanding,
    *,
    cause: Cause,
    events: list[EventName] | None = None,
) -> None:
    """Add what became of a standing, in the transaction that changes it.

    Args:
        conn: where.
        user_id: whose standing it is; a customer of ours.
        known: the standing as it was.
        fresh: as it is from now on; with the same version nothing changed.
        cause: why it was looked at.
        events: those of Stripe's that this settles.
    """
    await store.insert_entry(
        conn,
        user_id,
        at=utc_now(),
        cause=cause,
        effect="none" if known.version == fresh.version else "changed",
        before=_told(known),
        after=_told(fresh),
        events=events,
    )


async def read_timeline(
    res: Resources, user_id: UUID, *, before: int | None, limit: int
) -> TimelinePage:
    """Return a page of what changed the user's standing or was looked at, latest first."""
    async with res.db.acquire() as conn:
        found = await store.list_entries(conn, user_id, before=before, limit=limit + 1)
    page = found[:limit]
    return TimelinePage(
        data=[TimelineEntryOut.model_validate(each, from_attributes=True) for each in page],
        next_cursor=page[-1].seq if len(found) > limit else None,
        has_more=len(found) > limit,
    )


def _told(known: KnownStanding) -> dict[str, Any]:
    return {
        "version": known.version,
        "messages_per_day": known.announced and known.announced["messages_per_day"],
        "announced": known.announced,
        **asdict(known.standing),
    }

"""What users have used."""

from datetime import datetime
from uuid import UUID

from libs.common.clock import utc_now
from services.ai.models import Spent
from services.ai.resources import Resources
from services.ai.store import usage as store

MAX_ROOMS = 20


async def sum_usage(res: Resources, user_id: UUID) -> tuple[datetime, datetime, list[Spent]]:
    """Return when this month and this day began, in UTC, and what the user has used since then."""
    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    async with res.db.acquire() as conn:
        spent = await store.sum_usage(conn, user_id, month=month, today=today, rooms=MAX_ROOMS)
    return month, today, spent

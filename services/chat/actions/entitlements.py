"""What users may do."""

from libs.common.events import SubscriptionChanged
from services.chat.resources import Resources
from services.chat.store import entitlements as store


async def apply_subscription(res: Resources, event: SubscriptionChanged) -> None:
    """Keep what the user may do now; an older version than the known one changes nothing."""
    async with res.db.acquire() as conn:
        await store.upsert_entitlement(conn, event)

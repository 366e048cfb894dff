"""What users may choose."""

from uuid import UUID

from libs.common.events import SubscriptionChanged
from services.ai import rules
from services.ai.catalogue import CATALOGUE, card_of
from services.ai.models import Offer
from services.ai.resources import Resources
from services.ai.store import entitlements as store


async def apply_subscription(res: Resources, event: SubscriptionChanged) -> None:
    """Keep what the user may choose now; an older version than the known one changes nothing."""
    async with res.db.acquire() as conn:
        await store.upsert_entitlement(conn, event)


async def list_models(res: Resources, user_id: UUID, *, guest: bool = False) -> list[Offer]:
    """Return every model we know or the user may choose, the default one first."""
    async with res.db.acquire() as conn:
        granted = await store.models_of(conn, user_id)
    if granted is None:
        granted = list(res.settings.unbilled(guest=guest).models)
    default = res.settings.gemini_model
    return [
        Offer(
            id=model,
            label=card_of(model).label,
            context_window=card_of(model).context_window,
            is_default=model == default,
            allowed=rules.may_choose(model, granted=granted, default=default),
        )
        for model in dict.fromkeys([default, *CATALOGUE, *granted])
    ]

"""What users have left."""

from uuid import UUID

from libs.common.clock import utc_now
from services.chat import quotas
from services.chat.models import Posted, Terms
from services.chat.quotas import Allowance
from services.chat.resources import Resources
from services.chat.store import quotas as store


def terms_of(res: Resources, *, guest: bool) -> Terms:
    """Return what a post is held to where billing never spoke of its user."""
    return Terms(
        unbilled=res.settings.unbilled(guest=guest),
        prompt_tokens=res.settings.prompt_tokens,
        output_tokens=res.settings.max_output_tokens,
    )


def headers_of(posted: Posted) -> dict[str, str]:
    """Return what the answer to an accepted post tells of the limits."""
    return quotas.rate_headers(posted, posted.created_at)


async def get_quota(
    res: Resources, user_id: UUID, *, guest: bool
) -> tuple[list[Allowance], dict[str, str]]:
    """Return how the user stands against each policy, and the same as headers."""
    now = utc_now()
    unbilled = res.settings.unbilled(guest=guest)
    async with res.db.acquire() as conn:
        state = await store.quota_state(conn, user_id, now=now, unbilled=unbilled)
    return quotas.allowances(state.limits, state.used, now), quotas.rate_headers(state, now)

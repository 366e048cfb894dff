"""What billing keeps of a user, and tells them."""

from uuid import UUID

from libs.common import inbox
from libs.common.clock import utc_now
from libs.common.events import UserChanged, UserRegistered
from services.billing import grants
from services.billing.models import GrantedOut, SubscriptionOut
from services.billing.resources import Resources
from services.billing.store import customers, standings
from services.billing.store import grants as store_grants


async def record_user(res: Resources, event: UserRegistered) -> None:
    """Store how a new user can be reached, once."""
    await _record(res, event, version=0)


async def record_change(res: Resources, event: UserChanged) -> None:
    """Store how a user can be reached from now on; Stripe learns it with the next purchase."""
    await _record(res, event, version=event.version)


async def _record(res: Resources, event: UserRegistered | UserChanged, *, version: int) -> None:
    async with res.db.acquire() as conn, conn.transaction():
        if await inbox.first_time(conn, consumer=event.TYPE, event_id=event.event_id):
            await customers.upsert_customer(
                conn,
                event.user_id,
                version=version,
                email=event.email,
                phone=event.phone,
                name=event.name,
            )


async def subscription_status(
    res: Resources, user_id: UUID, *, guest: bool = False
) -> SubscriptionOut:
    """Return what the user has subscribed to; asks our own tables only."""
    now = utc_now()
    async with res.db.acquire() as conn:
        known = await standings.standing_of(conn, user_id)
        given = grants.live(await store_grants.list_open_grants(conn, user_id, now=now), now)
    plan, entitlements = grants.effective(known.standing.plan, given, plans=res.settings.plans())
    if guest:  # chat and ai know by themselves what guests may do
        entitlements = res.settings.unbilled(guest=True)
    return SubscriptionOut(
        plan=plan,
        status=known.standing.status,
        current_period_end=known.standing.current_period_end,
        cancel_at_period_end=known.standing.cancel_at_period_end,
        entitlements=entitlements,
        grants=[
            GrantedOut(plan=each.plan, entitlements=each.entitlements, expires_at=each.expires_at)
            for each in given
        ],
        as_of=known.as_of,
    )

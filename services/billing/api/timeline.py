"""Why somebody has the plan that they have, over HTTP: for themself, and for support.

Roles are looked at in the token: one that was taken is gone with it, after minutes.
"""

from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query

from libs.common.http import CurrentUser
from libs.common.problems import problems
from libs.common.roles import RoleMissingError
from services.billing.actions import support, timeline
from services.billing.api.parameters import Limit, Res
from services.billing.api.parameters import Support as Caller
from services.billing.errors import (
    BillingUnavailableError,
    NoStripeCustomerError,
    StripeEventNotFoundError,
)
from services.billing.timeline_models import (
    BillingOut,
    StripeEventOut,
    StripeEventPage,
    TimelinePage,
)

router = APIRouter(tags=["billing"])
others = APIRouter(prefix="/admin", tags=["admin"], responses=problems(RoleMissingError))
EventId = Annotated[str, Path(pattern="^evt_[A-Za-z0-9_]{1,250}$")]


@router.get("/subscription/timeline")
async def read_timeline(
    user: CurrentUser, res: Res, cursor: int | None = None, limit: Limit = 20
) -> TimelinePage:
    """Read what changed your plan and why, the latest first; Stripe's events without effect too."""
    return await timeline.read_timeline(res, user.user_id, before=cursor, limit=limit)


@others.get("/user/{user_id}/billing")
async def read_billing(
    _: Caller, user_id: UUID, res: Res, cursor: int | None = None, limit: Limit = 20
) -> BillingOut:
    """Read what somebody's plan is and why, with what changed it, the latest first."""
    return await support.read_billing(res, user_id, before=cursor, limit=limit)


@others.post(
    "/user/{user_id}/billing/sync",
    responses=problems(NoStripeCustomerError, BillingUnavailableError),
)
async def sync_billing(caller: Caller, user_id: UUID, res: Res) -> BillingOut:
    """Ask Stripe about somebody now, and read what came of it."""
    await support.sync_user(res, caller, user_id)
    return await support.read_billing(res, user_id, before=None, limit=20)


@others.get("/stripe-event")
async def list_stripe_events(
    _: Caller,
    res: Res,
    state: Annotated[Literal["stuck"], Query()] = "stuck",
    cursor: str | None = None,
    limit: Limit = 20,
) -> StripeEventPage:
    """List Stripe's events that could not be applied for minutes, oldest first."""
    del state  # there is no other yet
    found = await support.list_stuck_events(res, after=cursor, limit=limit + 1)
    data = [StripeEventOut(**asdict(each)) for each in found[:limit]]
    has_more = len(found) > limit
    return StripeEventPage(
        data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more
    )


@others.post(
    "/stripe-event/{event_id}/retry", status_code=202, responses=problems(StripeEventNotFoundError)
)
async def retry_stripe_event(caller: Caller, event_id: EventId, res: Res) -> StripeEventOut:
    """Try a stored event again at once, with all that wait of its customer."""
    return StripeEventOut(**asdict(await support.retry_event(res, caller, event_id)))

"""Subscriptions over HTTP."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from libs.common.http import CurrentUser, Problem
from services.billing.actions import portal, subscriptions, users
from services.billing.api.parameters import Res
from services.billing.models import SubscriptionOut

_UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "`billing_unavailable`"}
}

router = APIRouter(tags=["billing"])


class PortalOut(BaseModel):
    """Where to change card and address, see invoices, cancel and resume.

    Attributes:
        portal_url: Stripe's page for the caller alone; open it in a browser within minutes.
    """

    portal_url: str


def _refused(code: str) -> dict[int | str, dict[str, Any]]:
    return {409: {"model": Problem, "description": f"`{code}`"}, **_UNAVAILABLE}


@router.get("/subscription/status")
async def subscription_status(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Return the caller's plan and what it grants."""
    return await users.subscription_status(res, user.user_id, guest=user.guest)


@router.post("/subscription/portal", responses=_refused("not_a_customer"))
async def open_portal(user: CurrentUser, res: Res) -> PortalOut:
    """Return where to change card and address, see invoices, cancel and resume, at Stripe."""
    return PortalOut(portal_url=await portal.open_portal(res, user.user_id))


@router.post("/subscription/cancel", responses=_refused("nothing_to_cancel"))
async def cancel_subscription(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Let the subscription end with the period that is paid; until then all stays as it is.

    Repeating it is safe. Until the end, `/subscription/resume` takes it back.
    """
    await subscriptions.cancel_subscription(res, user.user_id)
    return await users.subscription_status(res, user.user_id, guest=user.guest)


@router.post("/subscription/resume", responses=_refused("nothing_to_resume"))
async def resume_subscription(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Go on with a subscription that was to end; one that goes on anyway does so."""
    await subscriptions.resume_subscription(res, user.user_id)
    return await users.subscription_status(res, user.user_id, guest=user.guest)

"""Subscriptions over HTTP."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from libs.common.http import CurrentUser
from libs.common.problems import problems
from services.billing.actions import portal, subscriptions, users
from services.billing.api.parameters import Res
from services.billing.errors import (
    BillingUnavailableError,
    NotACustomerError,
    NothingToCancelError,
    NothingToResumeError,
)
from services.billing.models import SubscriptionOut

router = APIRouter(tags=["billing"])


class PortalOut(BaseModel):
    """Where to change card and address, see invoices, cancel and resume.

    Attributes:
        portal_url: Stripe's page for the caller alone; open it in a browser within minutes.
    """

    portal_url: str


@router.get(
    "/subscription/status",
    response_model=SubscriptionOut,
    responses={304: {"description": "It is still what the `If-None-Match` names"}},
)
async def subscription_status(
    user: CurrentUser, res: Res, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the caller's plan and what they may do; `as_of` tells how fresh it is."""
    status = await users.subscription_status(res, user.user_id, guest=user.guest)
    body = status.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if tag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post("/subscription/portal", responses=problems(NotACustomerError, BillingUnavailableError))
async def open_portal(user: CurrentUser, res: Res) -> PortalOut:
    """Return where to change card and address, see invoices, cancel and resume, at Stripe."""
    return PortalOut(portal_url=await portal.open_portal(res, user.user_id))


@router.post(
    "/subscription/cancel", responses=problems(NothingToCancelError, BillingUnavailableError)
)
async def cancel_subscription(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Let the subscription end with the period that is paid; until then all stays as it is.

    Repeating it is safe. Until the end, `/subscription/resume` takes it back.
    """
    await subscriptions.cancel_subscription(res, user.user_id)
    return await users.subscription_status(res, user.user_id, guest=user.guest)


@router.post(
    "/subscription/resume", responses=problems(NothingToResumeError, BillingUnavailableError)
)
async def resume_subscription(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Go on with a subscription that was to end; one that goes on anyway does so."""
    await subscriptions.resume_subscription(res, user.user_id)
    return await users.subscription_status(res, user.user_id, guest=user.guest)

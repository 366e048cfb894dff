"""Subscriptions over HTTP."""

from fastapi import APIRouter

from libs.common.http import CurrentUser
from services.billing.actions import users
from services.billing.api.parameters import Res
from services.billing.models import SubscriptionOut

router = APIRouter(tags=["billing"])


@router.get("/subscription/status")
async def subscription_status(user: CurrentUser, res: Res) -> SubscriptionOut:
    """Return the caller's plan and what it grants."""
    return await users.subscription_status(res, user.user_id, guest=user.guest)

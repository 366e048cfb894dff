"""Subscriptions over HTTP."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Response

from libs.common.http import CurrentUser
from services.billing.actions import users
from services.billing.api.parameters import Res
from services.billing.models import SubscriptionOut

router = APIRouter(tags=["billing"])


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

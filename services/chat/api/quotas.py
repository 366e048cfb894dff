"""What a caller has left, over HTTP."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from libs.common.http import CurrentUser
from services.chat.actions import quotas as actions
from services.chat.api.parameters import Res

router = APIRouter(tags=["chat"])


class AllowanceOut(BaseModel):
    """How you stand against one limit of your plan.

    Attributes:
        policy: its name in the `RateLimit` headers and in refusals.
        unit: what is counted.
        window: the part of the UTC calendar that it is for; null for what is open at a time.
        limit: null for none.
        used: what counts now; of replies that are open, the tokens they may take.
        remaining: null without a limit.
        resets_at: when the next day or month begins; null for what is open at a time.
    """

    policy: str
    unit: str
    window: Literal["day", "month"] | None
    limit: int | None
    used: int
    remaining: int | None
    resets_at: datetime | None


class QuotaOut(BaseModel):
    """Every limit that a plan can have."""

    data: list[AllowanceOut]


@router.get("/quota")
async def get_quota(caller: CurrentUser, res: Res, response: Response) -> QuotaOut:
    """Return what you may still send, as the next post will find it."""
    found, headers = await actions.get_quota(res, caller.user_id, guest=caller.guest)
    response.headers.update(headers)
    return QuotaOut(
        data=[
            AllowanceOut(
                policy=each.policy.name,
                unit=each.policy.unit,
                window=each.policy.window,
                limit=each.limit,
                used=each.used,
                remaining=each.remaining,
                resets_at=each.resets_at,
            )
            for each in found
        ]
    )

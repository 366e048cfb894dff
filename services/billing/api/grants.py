"""What users are granted besides their plan, over HTTP; for support and admins."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from libs.common.errors import IdempotencyKeyReusedError, NotFoundError
from libs.common.events import Plan
from libs.common.http import Body
from libs.common.plans import members
from libs.common.problems import problems
from libs.common.roles import RoleMissingError
from libs.common.text import PlainText
from services.billing.actions import grants as actions
from services.billing.api.parameters import Admin, IdempotencyKey, Limit, Res, Support
from services.billing.errors import GrantNotFoundError

router = APIRouter(
    prefix="/admin/user/{user_id}/grant", tags=["admin"], responses=problems(RoleMissingError)
)


class GrantIn(Body):
    """What to grant, and until when.

    Attributes:
        plan: counts in the place of what the user pays for.
        entitlements: what counts in the place of the plan's, any of messages_per_day,
            messages_per_month, tokens_per_day, tokens_per_month, cost_micros_per_month,
            concurrent_replies, requests_per_minute, burst and models; null is no limit.
        reason: for support and admins; the user finds it in their archive.
        starts_at: absent is now.
        expires_at: absent is never.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"plan": "pro", "reason": "a month on the house"}]}
    )

    reason: Annotated[PlainText, Field(min_length=1, max_length=500)]
    plan: Plan | None = None
    entitlements: Annotated[dict[str, Any], AfterValidator(members)] = Field(default={})
    starts_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _grants_something(self) -> Self:
        if self.plan is None and not self.entitlements:
            raise ValueError("grant a plan, or entitlements")
        return self


class GrantOut(BaseModel):
    """What was granted.

    Attributes:
        granted_by: the admin; null once they have deleted their account.
        ended_at: when it was taken back.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    plan: Plan | None
    entitlements: dict[str, Any]
    reason: str
    granted_by: UUID | None
    created_at: AwareDatetime
    starts_at: AwareDatetime
    expires_at: AwareDatetime | None
    ended_at: AwareDatetime | None


class GrantPage(BaseModel):
    """A page of grants; pass `next_cursor` as `cursor` for older ones."""

    data: list[GrantOut]
    next_cursor: UUID | None
    has_more: bool


@router.get("")
async def list_grants(
    _: Support, user_id: UUID, res: Res, cursor: UUID | None = None, limit: Limit = 20
) -> GrantPage:
    """Read what somebody was granted, the newest first, also what is over."""
    found = await actions.list_grants(res, user_id, before=cursor, limit=limit + 1)
    data = [GrantOut.model_validate(each) for each in found[:limit]]
    has_more = len(found) > limit
    return GrantPage(data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more)


@router.post("", status_code=201, responses=problems(NotFoundError, IdempotencyKeyReusedError))
async def give_grant(
    caller: Admin,
    user_id: UUID,
    body: GrantIn,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> GrantOut:
    """Grant somebody a plan or single entitlements, for a while or for good; counts at once.

    Of several grants that are in force the newest counts most.
    """
    grant, is_new = await actions.give_grant(
        res,
        caller,
        user_id,
        plan=body.plan,
        entitlements=body.entitlements,
        reason=body.reason,
        starts_at=body.starts_at,
        expires_at=body.expires_at,
        idempotency_key=idempotency_key,
    )
    if not is_new:
        response.headers["idempotent-replayed"] = "true"
    return GrantOut.model_validate(grant)


@router.delete("/{grant_id}", status_code=204, responses=problems(GrantNotFoundError))
async def end_grant(caller: Admin, user_id: UUID, grant_id: UUID, res: Res) -> None:
    """Take a grant back; counts at once."""
    await actions.end_grant(res, caller, user_id, grant_id)

"""Ai over HTTP."""

from datetime import datetime
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.common.events import Usage
from libs.common.exports import PATH
from libs.common.http import CurrentUser
from services.ai.actions import entitlements, exports, usage
from services.ai.models import Spent
from services.ai.resources import Resources

router = APIRouter(tags=["ai"])
_SCOPES = ("today", "month", "model", "chatroom")


def get_resources(request: Request) -> Resources:
    """Return what the lifespan opened."""
    return cast(Resources, request.app.state.resources)


Res = Annotated[Resources, Depends(get_resources)]


class ModelOut(BaseModel):
    """A model; name it as `model` of a message if it is `allowed`."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    label: str
    context_window: int | None
    is_default: bool
    allowed: bool


class ModelList(BaseModel):
    """Every model, the default one first."""

    data: list[ModelOut]


@router.get("/model")
async def list_models(user: CurrentUser, res: Res) -> ModelList:
    """List the models, and whether the caller's plan allows each."""
    offers = await entitlements.list_models(res, user.user_id, guest=user.guest)
    return ModelList(data=[ModelOut.model_validate(offer) for offer in offers])


class UsageOut(BaseModel):
    """What was used: answered messages, tokens of them and of titles and summaries, their cost.

    `cost_micros` are millionths of `currency`.
    """

    model_config = ConfigDict(from_attributes=True)

    messages: int
    tokens: Usage
    cost_micros: int


class PeriodOut(UsageOut):
    """The use of a UTC day or calendar month so far."""

    since: AwareDatetime


class ModelUsageOut(UsageOut):
    """A model's part of the month; `model` is its id."""

    model: str


class ChatroomUsageOut(UsageOut):
    """A chatroom's part of the month; it may have been deleted since."""

    chatroom_id: UUID


class UsageReport(BaseModel):
    """What the caller has used: the sums of every charge, as of now."""

    currency: Literal["USD"] = "USD"
    today: PeriodOut
    month: PeriodOut
    by_model: list[ModelUsageOut]
    by_chatroom: list[ChatroomUsageOut]


@router.get("/usage")
async def get_usage(user: CurrentUser, res: Res) -> UsageReport:
    """Return what the caller has used today and this month, and which models and rooms took it.

    Of the chatrooms there are the 20 dearest.
    """
    month, today, spent = await usage.sum_usage(res, user.user_id)
    by_scope = {scope: [each for each in spent if each.scope == scope] for scope in _SCOPES}
    return UsageReport(
        today=_period(by_scope["today"], today),
        month=_period(by_scope["month"], month),
        by_model=[ModelUsageOut.model_validate(each) for each in by_scope["model"]],
        by_chatroom=[ChatroomUsageOut.model_validate(each) for each in by_scope["chatroom"]],
    )


def _period(spent: list[Spent], since: datetime) -> PeriodOut:
    sums = spent[0] if spent else Spent("today")
    return PeriodOut(
        messages=sums.messages, tokens=sums.tokens, cost_micros=sums.cost_micros, since=since
    )


@router.get(PATH, include_in_schema=False)
async def export_usage(user: CurrentUser, res: Res) -> StreamingResponse:
    """Return what ai knows of the caller: a part of their archive."""
    pieces = exports.export_usage(res, user.user_id)
    return StreamingResponse(pieces, media_type="application/json")

"""Ai over HTTP."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from libs.common.exports import PATH
from libs.common.http import CurrentUser
from services.ai.actions import entitlements, exports
from services.ai.resources import Resources

router = APIRouter(tags=["ai"])


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


@router.get(PATH, include_in_schema=False)
async def export_usage(user: CurrentUser, res: Res) -> StreamingResponse:
    """Return what ai knows of the caller: a part of their archive."""
    pieces = exports.export_usage(res, user.user_id)
    return StreamingResponse(pieces, media_type="application/json")

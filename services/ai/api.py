"""Ai over HTTP."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from libs.common.http import CurrentUser
from services.ai.actions import entitlements
from services.ai.resources import Resources

router = APIRouter(prefix="/model", tags=["ai"])


def get_resources(request: Request) -> Resources:
    """Return what the lifespan opened."""
    return cast(Resources, request.app.state.resources)


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


@router.get("")
async def list_models(
    user: CurrentUser, res: Annotated[Resources, Depends(get_resources)]
) -> ModelList:
    """List the models, and whether the caller's plan allows each."""
    offers = await entitlements.list_models(res, user.user_id)
    return ModelList(data=[ModelOut.model_validate(offer) for offer in offers])

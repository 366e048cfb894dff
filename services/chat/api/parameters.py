"""What several endpoints take."""

from typing import Annotated, cast

from fastapi import Depends, Header, Request

from libs.common.errors import IdempotencyKeyReusedError
from services.chat.errors import ChatroomNotFoundError, ModelNotInPlanError, ReducedCapacityError
from services.chat.quotas import POLICIES
from services.chat.resources import Resources

MAX_PAGE = 100


async def get_resources(request: Request) -> Resources:
    """Return what the lifespan opened."""
    return cast(Resources, request.app.state.resources)


def not_blank(text: str) -> str:
    """Refuse text that nobody can see."""
    if not text.strip():
        raise ValueError("write something")
    return text


Res = Annotated[Resources, Depends(get_resources)]
POST_REFUSALS = (
    ChatroomNotFoundError,
    IdempotencyKeyReusedError,
    ModelNotInPlanError,
    ReducedCapacityError,
    *(policy.error for policy in POLICIES),
)
"""Why a message is not accepted."""

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]

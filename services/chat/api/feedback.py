"""Feedback over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from libs.common.text import PlainText
from services.chat.actions import feedback as actions
from services.chat.api.parameters import Res
from services.chat.errors import MessageNotFoundError

router = APIRouter(prefix="/chatroom", tags=["chat"])


class Opinion(Body):
    """What you think of a reply."""

    thumb: Literal["up", "down"]
    reason: Annotated[PlainText, Field(max_length=1000)] | None = None


@router.put(
    "/{chatroom_id}/message/{message_id}/feedback", responses=problems(MessageNotFoundError)
)
async def give_feedback(
    chatroom_id: UUID, message_id: UUID, body: Opinion, caller: CurrentUser, res: Res
) -> Opinion:
    """Tell what you think of a reply; it takes the place of what you told before."""
    await actions.give_feedback(
        res,
        chatroom_id=chatroom_id,
        message_id=message_id,
        user_id=caller.user_id,
        thumb=body.thumb,
        reason=body.reason,
    )
    return body


@router.delete(
    "/{chatroom_id}/message/{message_id}/feedback",
    status_code=204,
    responses=problems(MessageNotFoundError),
)
async def withdraw_feedback(
    chatroom_id: UUID, message_id: UUID, caller: CurrentUser, res: Res
) -> None:
    """Take back what you told about a reply."""
    await actions.give_feedback(
        res,
        chatroom_id=chatroom_id,
        message_id=message_id,
        user_id=caller.user_id,
        thumb=None,
        reason=None,
    )

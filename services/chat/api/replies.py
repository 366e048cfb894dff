"""Replies over HTTP: stop."""

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from libs.common.http import CurrentUser
from libs.common.problems import problems
from services.chat.actions import replies as actions
from services.chat.api.messages import MessageOut
from services.chat.api.parameters import Res
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError

router = APIRouter(prefix="/chatroom", tags=["chat"])


class StoppingOut(BaseModel):
    """The replies concerned as they are now, oldest first; the open ones end within a second."""

    data: list[MessageOut]


@router.post("/{chatroom_id}/stop", responses=problems(ChatroomNotFoundError))
async def stop_chatroom(chatroom_id: UUID, caller: CurrentUser, res: Res) -> StoppingOut:
    """Stop every reply of the chatroom that is being written or waits for its turn."""
    replies = await actions.stop_chatroom(res, chatroom_id=chatroom_id, user_id=caller.user_id)
    return StoppingOut(data=[MessageOut.model_validate(reply) for reply in replies])


@router.post("/{chatroom_id}/message/{message_id}/stop", responses=problems(MessageNotFoundError))
async def stop_reply(
    chatroom_id: UUID, message_id: UUID, caller: CurrentUser, res: Res
) -> StoppingOut:
    """Stop that reply, or the reply to that message; one that has ended stays as it is."""
    replies = await actions.stop_reply(
        res, chatroom_id=chatroom_id, message_id=message_id, user_id=caller.user_id
    )
    return StoppingOut(data=[MessageOut.model_validate(reply) for reply in replies])

"""Branches over HTTP: edit, regenerate, switch."""

from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import ConfigDict

from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from services.chat.actions import branches as actions
from services.chat.actions import messages
from services.chat.api.messages import Accepted, MessageIn, MessagesOut, ModelId, accepted
from services.chat.api.parameters import POST_REFUSALS, IdempotencyKey, Res
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError, ReplyInProgressError
from services.chat.models import Draft

router = APIRouter(prefix="/chatroom", tags=["chat"])


class RegenerateIn(Body):
    """Body of a regeneration, which may be left out.

    Attributes:
        model: one of `GET /model` that your plan includes; absent is the default.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    model: ModelId | None = None


class PathIn(Body):
    """Body of a switch: a message of the branch to be shown, see `sibling_ids`."""

    message_id: UUID


@router.patch(
    "/{chatroom_id}/message/{message_id}",
    status_code=202,
    responses=problems(*POST_REFUSALS, MessageNotFoundError, ReplyInProgressError),
)
async def edit_message(
    chatroom_id: UUID,
    message_id: UUID,
    body: MessageIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Send another message in the place of one of yours; counts and answers like a post.

    The old one and what followed it stay on a branch of their own. 409 while a reply is open.
    """
    posted = await messages.post_message(
        res,
        Draft(
            chatroom_id=chatroom_id,
            user_id=caller.user_id,
            content=body.content,
            guest=caller.guest,
            edits=message_id,
            client_message_id=body.client_message_id,
            model=body.model,
            idempotency_key=idempotency_key,
        ),
    )
    return accepted(posted, chatroom_id, response)


@router.post(
    "/{chatroom_id}/message/{message_id}/regenerate",
    status_code=202,
    responses=problems(*POST_REFUSALS, MessageNotFoundError, ReplyInProgressError),
)
async def regenerate_reply(
    chatroom_id: UUID,
    message_id: UUID,
    caller: CurrentUser,
    res: Res,
    response: Response,
    body: RegenerateIn | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Ask for another reply in the place of this one; counts like a post.

    The old one and what followed it stay on a branch of their own. 409 while a reply is open.
    """
    posted = await actions.regenerate_reply(
        res,
        chatroom_id=chatroom_id,
        message_id=message_id,
        user_id=caller.user_id,
        model=body.model if body else None,
        idempotency_key=idempotency_key,
        guest=caller.guest,
    )
    return accepted(posted, chatroom_id, response)


@router.put(
    "/{chatroom_id}/path",
    responses=problems(ChatroomNotFoundError, MessageNotFoundError, ReplyInProgressError),
)
async def switch_path(
    chatroom_id: UUID, body: PathIn, caller: CurrentUser, res: Res
) -> MessagesOut:
    """Show the branch of that message, below it the newest; returns the end of the branch.

    409 while a reply is open.
    """
    page = await actions.switch_path(
        res, chatroom_id=chatroom_id, message_id=body.message_id, user_id=caller.user_id
    )
    return MessagesOut.model_validate(page)

"""Messages over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.events import MAX_CONTENT
from libs.common.http import Body, CurrentUser
from libs.common.text import PlainText
from services.chat.actions import messages as actions
from services.chat.api.parameters import MAX_PAGE, IdempotencyKey, Res, not_blank
from services.chat.models import Status

router = APIRouter(prefix="/chatroom", tags=["chat"])
Content = Annotated[
    PlainText, Field(min_length=1, max_length=MAX_CONTENT), AfterValidator(not_blank)
]


class MessageIn(Body):
    """Body of a post; `content` is kept as it is typed."""

    content: Content


class MessageOut(BaseModel):
    """A message, or the reply to one (`role` `assistant`)."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    chatroom_id: UUID
    role: Literal["user", "assistant"]
    status: Status
    content: str
    created_at: datetime
    reply_to: UUID | None = None
    problem: dict[str, Any] | None = None
    model: str | None = None
    finish_reason: str | None = None
    ended_at: datetime | None = None


class MessagePage(BaseModel):
    """A page of messages, newest first; pass `next_cursor` as `before` for older ones."""

    data: list[MessageOut]
    next_cursor: UUID | None
    has_more: bool


class PostedMessage(BaseModel):
    """The message as it was accepted."""

    id: UUID
    chatroom_id: UUID
    role: Literal["user"] = "user"
    content: str
    created_at: datetime


class PendingReply(BaseModel):
    """The reply that will be written."""

    id: UUID
    status: Literal["queued"] = "queued"


class Accepted(BaseModel):
    """A message was accepted; its reply can be followed at `stream_url`."""

    message: PostedMessage
    reply: PendingReply
    stream_url: str


@router.post("/{chatroom_id}/message", status_code=202)
async def post_message(
    chatroom_id: UUID,
    body: MessageIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Send a message; its reply is written in the background.

    Sending the same `Idempotency-Key` again returns the first answer and sends nothing.
    """
    posted = await actions.post_message(
        res,
        chatroom_id=chatroom_id,
        user_id=caller.user_id,
        content=body.content,
        idempotency_key=idempotency_key,
    )
    if posted.outcome == "replayed":
        response.headers["idempotent-replayed"] = "true"
    return Accepted(
        message=PostedMessage(
            id=posted.message_id,
            chatroom_id=chatroom_id,
            content=body.content,
            created_at=posted.created_at,
        ),
        reply=PendingReply(id=posted.reply_id),
        stream_url=f"/chatroom/{chatroom_id}/message/{posted.reply_id}/stream",
    )


@router.get("/{chatroom_id}/message")
async def list_messages(
    chatroom_id: UUID,
    caller: CurrentUser,
    res: Res,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> MessagePage:
    """List a chatroom's messages and replies, newest first."""
    messages, has_more = await actions.list_messages(
        res, chatroom_id=chatroom_id, user_id=caller.user_id, before=before, limit=limit
    )
    return MessagePage(
        data=[MessageOut.model_validate(message) for message in messages],
        next_cursor=messages[-1].id if has_more else None,
        has_more=has_more,
    )


@router.get("/{chatroom_id}/message/{message_id}")
async def get_message(
    chatroom_id: UUID, message_id: UUID, caller: CurrentUser, res: Res
) -> MessageOut:
    """Return one message or reply; a reply's content is complete once it has ended."""
    message = await actions.get_message(
        res, chatroom_id=chatroom_id, message_id=message_id, user_id=caller.user_id
    )
    return MessageOut.model_validate(message)

"""Messages over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.errors import ValidationFailedError
from libs.common.events import MAX_CONTENT
from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from libs.common.text import PlainText
from services.chat.actions import messages as actions
from services.chat.actions.quotas import headers_of
from services.chat.api.parameters import MAX_PAGE, POST_REFUSALS, IdempotencyKey, Res, not_blank
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError
from services.chat.models import Draft, Posted, Status

router = APIRouter(prefix="/chatroom", tags=["chat"])
Content = Annotated[
    PlainText, Field(min_length=1, max_length=MAX_CONTENT), AfterValidator(not_blank)
]
ModelId = Annotated[PlainText, Field(min_length=1, max_length=100)]


class MessageIn(Body):
    """Body of a post.

    Attributes:
        content: kept as it is typed.
        client_message_id: your name of the message, unique in the chatroom for ever: sending it
            again returns the first answer and sends nothing.
        model: one of `GET /model` that your plan includes; absent is the default.
    """

    content: Content
    client_message_id: Annotated[PlainText, Field(min_length=1, max_length=100)] | None = None
    model: ModelId | None = None


class TextPart(BaseModel):
    """A part of a message that is text; a reply's is Markdown."""

    type: Literal["text"]
    text: str


class Feedback(BaseModel):
    """Your opinion of a reply."""

    thumb: Literal["up", "down"]
    reason: str | None


class MessageOut(BaseModel):
    """A message, or the reply to one (`role` `assistant`).

    Attributes:
        parts: the content by kind; clients ignore kinds that they do not know.
        parent_id: the message before it on its branch; of a reply, what it answers.
        sibling_ids: what can be shown in its place with `PUT /chatroom/{id}/path`, oldest first;
            the message itself is one of them.
        model: the model that answered, or was asked to.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    chatroom_id: UUID
    role: Literal["user", "assistant"]
    status: Status
    content: str
    parts: list[TextPart]
    created_at: datetime
    parent_id: UUID | None = None
    sibling_ids: list[UUID]
    client_message_id: str | None = None
    reply_to: UUID | None = None
    problem: dict[str, Any] | None = None
    model: str | None = None
    finish_reason: str | None = None
    feedback: Feedback | None = None
    ended_at: datetime | None = None


class MessagesOut(BaseModel):
    """Neighbouring messages, newest first.

    Attributes:
        data: the messages.
        next_cursor: pass it as `before` for older ones; null if there are none.
        prev_cursor: pass it as `after` for newer ones; null if there are none.
        has_more: whether there are more in the direction asked for.
    """

    model_config = ConfigDict(from_attributes=True)

    data: list[MessageOut]
    next_cursor: UUID | None
    prev_cursor: UUID | None
    has_more: bool


class PostedMessage(BaseModel):
    """The message as it was accepted."""

    id: UUID
    chatroom_id: UUID
    role: Literal["user"] = "user"
    content: str
    parent_id: UUID | None
    client_message_id: str | None
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


def accepted(posted: Posted, chatroom_id: UUID, response: Response) -> Accepted:
    """Return the answer to a post, with what is left; mark it if it is an earlier one."""
    response.headers.update(headers_of(posted))
    if posted.outcome == "replayed":
        response.headers["idempotent-replayed"] = "true"
    return Accepted(
        message=PostedMessage(
            id=posted.message_id,
            chatroom_id=chatroom_id,
            content=posted.content,
            parent_id=posted.parent_id,
            client_message_id=posted.client_message_id,
            created_at=posted.created_at,
        ),
        reply=PendingReply(id=posted.reply_id),
        stream_url=f"/chatroom/{chatroom_id}/message/{posted.reply_id}/stream",
    )


@router.post("/{chatroom_id}/message", status_code=202, responses=problems(*POST_REFUSALS))
async def post_message(
    chatroom_id: UUID,
    body: MessageIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Send a message; its reply is written in the background.

    It goes to the end of the shown branch. While an earlier reply is open, the new one waits for
    its turn. Sending the same `Idempotency-Key` or `client_message_id` again returns the first
    answer and sends nothing.
    """
    posted = await actions.post_message(
        res,
        Draft(
            chatroom_id=chatroom_id,
            user_id=caller.user_id,
            content=body.content,
            guest=caller.guest,
            client_message_id=body.client_message_id,
            model=body.model,
            idempotency_key=idempotency_key,
        ),
    )
    return accepted(posted, chatroom_id, response)


@router.get("/{chatroom_id}/message", responses=problems(ChatroomNotFoundError))
async def list_messages(
    chatroom_id: UUID,
    caller: CurrentUser,
    res: Res,
    before: UUID | None = None,
    after: UUID | None = None,
    around: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> MessagesOut:
    """List the messages and replies of the shown branch, always newest first.

    Without a cursor these are the newest. `before` lists those older than that message, `after`
    the ones that follow it, `around` the message itself amid its neighbours; send one of the three.
    """
    user_id = caller.user_id
    match before, after, around:
        case _, None, None:
            page = await actions.list_messages(
                res, chatroom_id=chatroom_id, user_id=user_id, before=before, limit=limit
            )
        case None, UUID(), None:
            page = await actions.list_messages_after(
                res, chatroom_id=chatroom_id, user_id=user_id, after=after, limit=limit
            )
        case None, None, UUID():
            page = await actions.list_messages_around(
                res, chatroom_id=chatroom_id, user_id=user_id, around=around, limit=limit
            )
        case _:
            raise ValidationFailedError("send only one of before, after and around")
    return MessagesOut.model_validate(page)


@router.get("/{chatroom_id}/message/{message_id}", responses=problems(MessageNotFoundError))
async def get_message(
    chatroom_id: UUID, message_id: UUID, caller: CurrentUser, res: Res
) -> MessageOut:
    """Return one message or reply; a reply's content is complete once it has ended."""
    message = await actions.get_message(
        res, chatroom_id=chatroom_id, message_id=message_id, user_id=caller.user_id
    )
    return MessageOut.model_validate(message)

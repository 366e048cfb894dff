"""Chat over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.errors import ValidationFailedError
from libs.common.events import MAX_CONTENT
from libs.common.http import Body, CurrentUser, DirectRoute
from libs.common.identity import authenticate
from libs.common.text import PlainText
from services.chat import actions
from services.chat.models import Status
from services.chat.resources import Resources

MAX_PAGE = 100
BEARER: dict[str, Any] = {"security": [{"bearer": []}]}
router = APIRouter(prefix="/chatroom", tags=["chat"])
direct_router = APIRouter(prefix="/chatroom", tags=["chat"], route_class=DirectRoute)


async def get_resources(request: Request) -> Resources:
    """Return what the lifespan opened."""
    return cast(Resources, request.app.state.resources)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("write something")
    return text


Res = Annotated[Resources, Depends(get_resources)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
Title = Annotated[PlainText, Field(min_length=1, max_length=200), AfterValidator(_not_blank)]
Content = Annotated[
    PlainText, Field(min_length=1, max_length=MAX_CONTENT), AfterValidator(_not_blank)
]


class ChatroomIn(Body):
    """Body of a new chatroom."""

    title: Title = "New chat"


class MessageIn(Body):
    """Body of a post; `content` is kept as it is typed."""

    content: Content


class ChatroomOut(BaseModel):
    """A chatroom; lists are ordered by `active_at`."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    created_at: datetime
    active_at: datetime


class ChatroomPage(BaseModel):
    """A page of chatrooms; pass `next_cursor` as `cursor` for the next one."""

    data: list[ChatroomOut]
    next_cursor: str | None
    has_more: bool


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


@direct_router.get(
    "",
    response_model=ChatroomPage,
    name="list_chatrooms",
    openapi_extra=BEARER
    | {
        "parameters": [
            {"name": "cursor", "in": "query", "schema": {"type": "string"}},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 20},
            },
        ]
    },
)
async def list_chatrooms(request: Request) -> Response:
    """List your chatrooms, the most recently active first."""
    caller = await authenticate(request)
    res = await get_resources(request)
    if not request.scope["query_string"]:
        body = await actions.list_first_chatrooms(res, user_id=caller.user_id)
        return Response(body, media_type="application/json")
    page = await actions.list_chatrooms(
        res,
        user_id=caller.user_id,
        cursor=request.query_params.get("cursor"),
        limit=_limit(request.query_params.get("limit", "20")),
    )
    return Response(
        ChatroomPage.model_validate(page).model_dump_json(), media_type="application/json"
    )


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE):
        raise ValidationFailedError(
            f"limit: send a number from 1 to {MAX_PAGE}",
            extra={"errors": [{"pointer": "/query/limit", "code": "out_of_range"}]},
        )
    return int(text)


@router.post("", status_code=201)
async def create_chatroom(
    body: ChatroomIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ChatroomOut:
    """Create a chatroom."""
    room = await actions.create_chatroom(
        res, user_id=caller.user_id, title=body.title, idempotency_key=idempotency_key
    )
    response.headers["location"] = f"/chatroom/{room.id}"
    return ChatroomOut.model_validate(room)


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

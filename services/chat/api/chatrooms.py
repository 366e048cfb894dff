"""Rooms over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.errors import ValidationFailedError
from libs.common.http import Body, CurrentUser, DirectRoute
from libs.common.identity import authenticate
from libs.common.text import PlainText
from services.chat.actions import chatrooms as actions
from services.chat.api.parameters import MAX_PAGE, IdempotencyKey, Res, get_resources, not_blank

BEARER: dict[str, Any] = {"security": [{"bearer": []}]}
router = APIRouter(prefix="/chatroom", tags=["chat"])
direct_router = APIRouter(prefix="/chatroom", tags=["chat"], route_class=DirectRoute)
Title = Annotated[PlainText, Field(min_length=1, max_length=200), AfterValidator(not_blank)]


class ChatroomIn(Body):
    """Body of a new chatroom."""

    title: Title = "New chat"


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

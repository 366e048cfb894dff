"""Rooms over HTTP."""

import json
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

from libs.common.errors import (
    IdempotencyKeyReusedError,
    PreconditionFailedError,
    ValidationFailedError,
)
from libs.common.etags import IfMatch, entity_tag, is_known
from libs.common.http import Body, CurrentUser, DirectRoute
from libs.common.identity import authenticate
from libs.common.problems import problems
from libs.common.text import PlainText
from services.chat.actions import chatrooms as actions
from services.chat.api.parameters import MAX_PAGE, IdempotencyKey, Res, get_resources, not_blank
from services.chat.errors import BadCursorError, ChatroomNotFoundError
from services.chat.models import ChatroomChange

BEARER: dict[str, Any] = {"security": [{"bearer": []}]}
MAX_METADATA = 4096  # bytes of JSON
MAX_NUMBER = 2**53 - 1  # what every JSON library reads alike (RFC 7493, section 2.2)
router = APIRouter(prefix="/chatroom", tags=["chat"])
direct_router = APIRouter(prefix="/chatroom", tags=["chat"], route_class=DirectRoute)
Title = Annotated[PlainText, Field(min_length=1, max_length=200), AfterValidator(not_blank)]


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    size = len(json.dumps(metadata, ensure_ascii=False).encode())
    if size > MAX_METADATA:
        raise ValueError(f"metadata has {size} bytes; send at most {MAX_METADATA}")
    return metadata


Metadata = Annotated[
    dict[
        Annotated[PlainText, Field(min_length=1, max_length=64)],
        StrictBool
        | Annotated[StrictInt, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
        | Annotated[StrictFloat, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
        | PlainText,
    ],
    Field(max_length=16),
    AfterValidator(_small),
]


class ChatroomIn(Body):
    """Body of a new chatroom; without a title it gets one that fits its first message."""

    title: Title = "New chat"


class ChatroomChangeIn(Body):
    """What to change about a chatroom; `metadata` takes the place of what was there."""

    title: Title | None = None
    pinned: StrictBool | None = None
    archived: StrictBool | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one of title, pinned, archived, metadata")
        if None in (getattr(self, name) for name in self.model_fields_set):
            raise ValueError("leave out what should stay; null is no value")
        return self


class ChatroomOut(BaseModel):
    """A chatroom; lists are ordered by `active_at`.

    `version` counts the changes of title, pinned, archived and metadata, not the messages.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    created_at: datetime
    active_at: datetime
    pinned: bool
    archived: bool
    metadata: dict[str, Any]
    version: int


class ChatroomPage(BaseModel):
    """A page of chatrooms; pass `next_cursor` as `cursor` for the next one."""

    data: list[ChatroomOut]
    next_cursor: str | None
    has_more: bool


def _query(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


@direct_router.get(
    "",
    response_model=ChatroomPage,
    responses=problems(BadCursorError),
    name="list_chatrooms",
    openapi_extra=BEARER
    | {
        "parameters": [
            _query("cursor", type="string"),
            _query("limit", type="integer", minimum=1, maximum=MAX_PAGE, default=20),
            _query("archived", type="boolean", default=False),
            _query("pinned", type="boolean"),
        ]
    },
)
async def list_chatrooms(request: Request) -> Response:
    """List your chatrooms, the most recently active first; archived ones only if asked for.

    `pinned` narrows it to those that are pinned, or to those that are not.
    """
    caller = await authenticate(request)
    res = await get_resources(request)
    if not request.scope["query_string"]:
        body = await actions.list_first_chatrooms(res, user_id=caller.user_id)
        return Response(body, media_type="application/json")
    query = request.query_params
    page = await actions.list_chatrooms(
        res,
        user_id=caller.user_id,
        cursor=query.get("cursor"),
        limit=_limit(query.get("limit", "20")),
        archived=_flag("archived", query.get("archived", "false")),
        pinned=_flag("pinned", query["pinned"]) if "pinned" in query else None,
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


def _flag(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValidationFailedError(
            f"{name}: send true or false",
            extra={"errors": [{"pointer": f"/query/{name}", "code": "bool_parsing"}]},
        )
    return text == "true"


@router.post("", status_code=201, responses=problems(IdempotencyKeyReusedError))
async def create_chatroom(
    body: ChatroomIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ChatroomOut:
    """Create a chatroom."""
    room = await actions.create_chatroom(
        res,
        user_id=caller.user_id,
        title=body.title if "title" in body.model_fields_set else None,
        idempotency_key=idempotency_key,
    )
    response.headers["location"] = f"/chatroom/{room.id}"
    return ChatroomOut.model_validate(room)


@router.get(
    "/{chatroom_id}",
    responses={304: {"description": "It has not changed"}, **problems(ChatroomNotFoundError)},
)
async def get_chatroom(
    chatroom_id: UUID,
    caller: CurrentUser,
    res: Res,
    response: Response,
    if_none_match: Annotated[str, Header()] = "",
) -> ChatroomOut:
    """Return one chatroom; its `ETag` is its `version`."""
    room = await actions.get_chatroom(res, chatroom_id=chatroom_id, user_id=caller.user_id)
    response.headers["etag"] = entity_tag(room.version)
    if is_known(if_none_match, room.version):
        return Response(status_code=304, headers=dict(response.headers))  # type: ignore[return-value] # FastAPI sends it as it is
    return ChatroomOut.model_validate(room)


@router.patch("/{chatroom_id}", responses=problems(ChatroomNotFoundError, PreconditionFailedError))
async def change_chatroom(
    chatroom_id: UUID,
    body: ChatroomChangeIn,
    caller: CurrentUser,
    res: Res,
    response: Response,
    versions: IfMatch,
) -> ChatroomOut:
    """Rename, pin, archive or mark a chatroom; with `If-Match` only if nobody else has."""
    room = await actions.change_chatroom(
        res,
        ChatroomChange(**body.model_dump(exclude_unset=True)),
        chatroom_id=chatroom_id,
        user_id=caller.user_id,
        versions=versions,
    )
    response.headers["etag"] = entity_tag(room.version)
    return ChatroomOut.model_validate(room)


@router.delete(
    "/{chatroom_id}",
    status_code=204,
    responses=problems(ChatroomNotFoundError, PreconditionFailedError),
)
async def delete_chatroom(
    chatroom_id: UUID, caller: CurrentUser, res: Res, versions: IfMatch
) -> None:
    """Delete a chatroom with everything in it; a reply that is being written is stopped."""
    await actions.delete_chatroom(
        res, chatroom_id=chatroom_id, user_id=caller.user_id, versions=versions
    )

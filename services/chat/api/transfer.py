"""Export and import over HTTP; the classes here are the file's published format."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from libs.common.errors import IdempotencyKeyReusedError
from libs.common.events import MAX_CONTENT
from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from libs.common.text import PlainText
from services.chat.actions import transfer as actions
from services.chat.api.chatrooms import ChatroomOut, Metadata, Title
from services.chat.api.feedback import Opinion
from services.chat.api.parameters import IdempotencyKey, Res, not_blank
from services.chat.errors import ChatroomNotFoundError
from services.chat.models import Chatroom, Node

router = APIRouter(prefix="/chatroom", tags=["chat"])
EXAMPLE: dict[str, Any] = {
    "format": "thoughtflow.chatroom",
    "version": 1,
    "chatroom": {
        "title": "Tea",
        "created_at": "2026-11-23T12:00:00Z",
        "pinned": False,
        "archived": False,
        "metadata": {"colour": "blue"},
    },
    "shown": "01937f2e-6c00-7000-8000-000000000002",
    "messages": [
        {
            "id": "01937f2e-6c00-7000-8000-000000000001",
            "parent_id": None,
            "role": "user",
            "status": "completed",
            "content": "Hello!",
            "created_at": "2026-11-23T12:00:00Z",
        },
        {
            "id": "01937f2e-6c00-7000-8000-000000000002",
            "parent_id": "01937f2e-6c00-7000-8000-000000000001",
            "role": "assistant",
            "status": "completed",
            "content": "Hi!",
            "created_at": "2026-11-23T12:00:01Z",
        },
    ],
}
Name = Annotated[PlainText, Field(max_length=200)]
Instant = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))
]


class ProblemInFile(Body):
    """Why a reply failed."""

    code: Name
    detail: Annotated[PlainText, Field(max_length=4000)]
    retryable: bool


class MessageInFile(Body):
    """A message, or the reply to one, of any branch."""

    id: UUID
    parent_id: UUID | None
    role: Literal["user", "assistant"]
    status: Literal["completed", "failed", "stopped"]
    content: PlainText
    created_at: Instant
    ended_at: Instant | None = None
    problem: ProblemInFile | None = None
    model: Name | None = None
    finish_reason: Name | None = None
    feedback: Opinion | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.role == "user":
            not_blank(self.content)
            if self.status != "completed" or len(self.content) > MAX_CONTENT:
                raise ValueError(f"a user's message is completed, of at most {MAX_CONTENT} chars")
            if self.problem or self.feedback:
                raise ValueError("only a reply has a problem or feedback")
        elif self.status == "completed" and not self.content:
            raise ValueError("a completed reply has a content")
        return self


class ChatroomInFile(Body):
    """What the room itself is like."""

    title: Title
    created_at: Instant
    pinned: bool
    archived: bool
    metadata: Metadata


class ChatroomFile(Body):
    """An exported room.

    `messages` is a tree, each message behind its parent: a reply hangs on a user's message, a
    user's message on a reply or on nothing. `shown` is the reply at the end of the shown branch.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    format: Literal["thoughtflow.chatroom"]
    version: Literal[1]
    chatroom: ChatroomInFile
    shown: UUID | None
    messages: list[MessageInFile]

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        roles: dict[UUID | None, str] = {None: "assistant"}
        unanswered: set[UUID | None] = set()
        for message in self.messages:
            if message.id in roles:
                raise ValueError(f"message {message.id} is there twice")
            if roles.get(message.parent_id, message.role) == message.role:
                raise ValueError(f"message {message.id} does not follow one of the other role")
            roles[message.id] = message.role
            if message.role == "user":
                unanswered.add(message.id)
            unanswered.discard(message.parent_id)
        if unanswered:
            raise ValueError(f"message {unanswered.pop()} has no reply")
        if (self.shown is None) != (not self.messages) or roles.get(self.shown) != "assistant":
            raise ValueError("shown is no reply of this room")
        return self


@router.get(
    "/{chatroom_id}/export",
    response_class=Response,
    responses={
        200: {
            "description": "A file; `ChatroomFile`, as `POST /chatroom/import` takes it, or text",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ChatroomFile"}},
                "text/markdown": {"schema": {"type": "string"}},
            },
        },
        **problems(ChatroomNotFoundError),
    },
)
async def export_chatroom(
    chatroom_id: UUID,
    caller: CurrentUser,
    res: Res,
    format: Literal["json", "markdown"] = "json",  # noqa: A002 - the name of the parameter
) -> StreamingResponse:
    """Download a chatroom: all of it as JSON, or its shown branch as Markdown."""
    if format == "json":
        pieces = await actions.export_json(res, chatroom_id=chatroom_id, user_id=caller.user_id)
        media_type, ending = "application/json", "json"
    else:
        pieces = await actions.export_markdown(res, chatroom_id=chatroom_id, user_id=caller.user_id)
        media_type, ending = "text/markdown; charset=utf-8", "md"
    name = f'attachment; filename="chatroom-{chatroom_id}.{ending}"'
    return StreamingResponse(pieces, media_type=media_type, headers={"content-disposition": name})


@router.post("/import", status_code=201, responses=problems(IdempotencyKeyReusedError))
async def import_chatroom(
    body: ChatroomFile,
    caller: CurrentUser,
    res: Res,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ChatroomOut:
    """Make a chatroom of an exported one, with new ids; costs nothing of the plan."""
    about = body.chatroom
    room = await actions.import_chatroom(
        res,
        Chatroom(
            id=caller.user_id,
            title=about.title,
            created_at=about.created_at,
            active_at=about.created_at,
            pinned=about.pinned,
            archived=about.archived,
            metadata=about.metadata,
        ),
        [_node(message) for message in body.messages],
        shown=body.shown,
        user_id=caller.user_id,
        idempotency_key=idempotency_key,
    )
    response.headers["location"] = f"/chatroom/{room.id}"
    return ChatroomOut.model_validate(room)


def _node(message: MessageInFile) -> Node:
    feedback = message.feedback
    return Node(
        id=message.id,
        parent_id=message.parent_id,
        role=message.role,
        status=message.status,
        content=message.content,
        created_at=message.created_at,
        ended_at=message.ended_at,
        problem=message.problem.model_dump() if message.problem else None,
        model=message.model,
        finish_reason=message.finish_reason,
        thumb=feedback.thumb if feedback else None,
        feedback_reason=feedback.reason if feedback else None,
    )

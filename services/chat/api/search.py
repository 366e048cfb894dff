"""Search over HTTP."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel

from libs.common.http import CurrentUser
from libs.common.text import PlainText
from services.chat.actions import search as actions
from services.chat.api.parameters import MAX_PAGE, Res, not_blank

router = APIRouter(tags=["chat"])
MAX_WORDS = 200  # characters; a word of more than 2,046 bytes is an error of PostgreSQL
Words = Annotated[PlainText, Query(min_length=1, max_length=MAX_WORDS), AfterValidator(not_blank)]


class SearchHit(BaseModel):
    """A message, or the title of a chatroom, that holds what was looked for.

    `snippet` is plain text; `highlights` are ranges [start, end) of it in code points.
    """

    type: Literal["chatroom", "message"]
    id: UUID
    chatroom_id: UUID
    chatroom_title: str
    role: Literal["user", "assistant"] | None
    created_at: datetime
    snippet: str
    highlights: list[tuple[int, int]]


class SearchPage(BaseModel):
    """A page of hits, newest first; pass `next_cursor` as `cursor` for older ones."""

    data: list[SearchHit]
    next_cursor: UUID | None
    has_more: bool


@router.get("/search")
async def search(
    caller: CurrentUser,
    res: Res,
    q: Words,
    cursor: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> SearchPage:
    """Search your chatrooms' titles and messages, archived ones and other branches too.

    All words must be there; `"in this order"`, `one or another` and `-without` work as they do on
    the web. A message is found as soon as it was accepted.
    """
    found, has_more = await actions.search(
        res, user_id=caller.user_id, words=q, before=cursor, limit=limit
    )
    hits = [
        SearchHit(
            type=hit.kind,
            id=hit.id,
            chatroom_id=hit.chatroom_id,
            chatroom_title=hit.chatroom_title,
            role=hit.role,
            created_at=hit.created_at,
            snippet=snippet,
            highlights=highlights,
        )
        for hit, snippet, highlights in found
    ]
    return SearchPage(data=hits, next_cursor=hits[-1].id if has_more else None, has_more=has_more)

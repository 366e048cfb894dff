"""Messages: post and read."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.errors import IdempotencyKeyReusedError
from libs.common.tracing import traceparent
from services.chat import quotas, rules
from services.chat.actions.capacity import ensure_capacity
from services.chat.actions.chatrooms import KEY_REUSED, rooms_key
from services.chat.actions.quotas import terms_of
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError
from services.chat.models import Draft, Message, MessagePage, Posted
from services.chat.resources import Resources
from services.chat.store import chatrooms
from services.chat.store import messages as store

_LAST_ID = UUID(int=(1 << 128) - 1)


async def post_message(res: Resources, draft: Draft) -> Posted:
    """Store a user's message and its pending reply, and announce it when it is its turn.

    Returns:
        Ids of the message and of its reply; `outcome` is `accepted` or `replayed`.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        MessageNotFoundError: there is no such message to edit.
        ReplyInProgressError: a reply of the room is open, so nothing can be edited.
        ModelNotInPlanError: the plan does not include the model.
        LimitReachedError: the plan does not cover another message now; see `quotas.POLICIES`.
        IdempotencyKeyReusedError: the key or the client's id was used for another message.
        ReducedCapacityError: too many prompts wait for users of this plan to add another.
    """
    now = utc_now()
    draft = replace(draft, model=res.settings.chosen(draft.model))

    async def write(conn: Connection, last_id: UUID | None) -> Posted:
        message_id = new_id(after=last_id)
        return await store.post_message(
            conn,
            draft,
            message_id=message_id,
            reply_id=new_id(after=message_id),
            event_ids=[new_id(), new_id(), new_id()],
            now=now,
            terms=terms_of(res, guest=draft.guest),
            traceparent=traceparent(),
        )

    return await accept(res, write, user_id=draft.user_id, now=now, guest=draft.guest)


async def accept(
    res: Resources,
    write: Callable[[Connection, UUID | None], Awaitable[Posted]],
    *,
    user_id: UUID,
    now: datetime,
    guest: bool,
) -> Posted:
    """Run `write` until its ids sort behind those of the room; raise what it was refused for.

    `write` gets the id that its own must sort behind.
    """
    await ensure_capacity(res, user_id)
    last_id: UUID | None = None
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn:
        while True:
            try:
                posted = await write(conn, last_id)
            except asyncpg.UniqueViolationError as exc:  # in another room, at the same moment
                raise IdempotencyKeyReusedError(KEY_REUSED) from exc
            if posted.outcome != "behind":
                break
            last_id = posted.last_id
    if posted.outcome == "limit":
        raise quotas.limit_error(posted, now, guest=guest)
    if refused := rules.refusal(posted.outcome):
        raise refused
    res.relay.send(posted.announced or [])
    return posted


async def list_messages(
    res: Resources, *, chatroom_id: UUID, user_id: UUID, before: UUID | None, limit: int
) -> MessagePage:
    """Return the shown branch's newest messages, or those before `before`.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    async with res.db.acquire() as conn:
        await _ensure_owner(conn, chatroom_id=chatroom_id, user_id=user_id)
        found = await store.list_messages_before(
            conn, chatroom_id=chatroom_id, before=before or _LAST_ID, limit=limit + 1
        )
    page, has_more = found[:limit], len(found) > limit
    return MessagePage(
        data=page,
        next_cursor=page[-1].id if has_more else None,
        prev_cursor=page[0].id if page and before else None,
        has_more=has_more,
    )


async def list_messages_after(
    res: Resources, *, chatroom_id: UUID, user_id: UUID, after: UUID, limit: int
) -> MessagePage:
    """Return the shown branch's messages that follow `after`.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    async with res.db.acquire() as conn:
        await _ensure_owner(conn, chatroom_id=chatroom_id, user_id=user_id)
        found = await store.list_messages_after(
            conn, chatroom_id=chatroom_id, after=after, limit=limit + 1
        )
    page, has_more = found[:limit][::-1], len(found) > limit
    return MessagePage(
        data=page,
        next_cursor=page[-1].id if page else None,
        prev_cursor=page[0].id if has_more else None,
        has_more=has_more,
    )


async def list_messages_around(
    res: Resources, *, chatroom_id: UUID, user_id: UUID, around: UUID, limit: int
) -> MessagePage:
    """Return the message `around` in the middle of its neighbours on the shown branch.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    newer_limit = limit // 2
    older_limit = limit - newer_limit
    async with res.db.acquire() as conn:
        await _ensure_owner(conn, chatroom_id=chatroom_id, user_id=user_id)
        older = await store.list_messages_before(
            conn,
            chatroom_id=chatroom_id,
            before=UUID(int=min(around.int + 1, _LAST_ID.int)),
            limit=older_limit + 1,
        )
        newer = await store.list_messages_after(
            conn, chatroom_id=chatroom_id, after=around, limit=newer_limit + 1
        )
    page = newer[:newer_limit][::-1] + older[:older_limit]
    has_older, has_newer = len(older) > older_limit, len(newer) > newer_limit
    return MessagePage(
        data=page,
        next_cursor=page[-1].id if page and has_older else None,
        prev_cursor=page[0].id if page and has_newer else None,
        has_more=has_older or has_newer,
    )


async def get_message(
    res: Resources, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> Message:
    """Return one message or reply, of whatever branch.

    Raises:
        MessageNotFoundError: it is not in that room of the user's.
    """
    async with res.db.acquire() as conn:
        message = await store.find_message(
            conn, chatroom_id=chatroom_id, message_id=message_id, user_id=user_id
        )
    if message is None:
        raise MessageNotFoundError("there is no such message in this chatroom")
    return message


async def _ensure_owner(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> None:
    if not await chatrooms.owns_chatroom(conn, chatroom_id=chatroom_id, user_id=user_id):
        raise ChatroomNotFoundError("you have no such chatroom; see GET /chatroom")

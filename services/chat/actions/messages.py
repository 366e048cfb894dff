"""Messages: post and read."""

from uuid import UUID

import asyncpg

from libs.common.clock import new_id, utc_now
from libs.common.errors import IdempotencyKeyReusedError
from libs.common.outbox import traceparent
from services.chat import rules
from services.chat.actions.chatrooms import KEY_REUSED, rooms_key
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError
from services.chat.models import Message, Posted
from services.chat.resources import Resources
from services.chat.store import chatrooms
from services.chat.store import messages as store


async def post_message(
    res: Resources,
    *,
    chatroom_id: UUID,
    user_id: UUID,
    content: str,
    idempotency_key: str | None,
) -> Posted:
    """Store a user's message and its pending reply, and announce it when it is its turn.

    Returns:
        Ids of the message and of its reply; `outcome` is `accepted` or `replayed`.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        DailyLimitReachedError: the plan does not cover another message today.
        IdempotencyKeyReusedError: the key was used for another message.
    """
    now = utc_now()
    last_id: UUID | None = None
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn:
        while True:
            message_id = new_id(after=last_id)
            try:
                posted = await store.post_message(
                    conn,
                    user_id=user_id,
                    chatroom_id=chatroom_id,
                    message_id=message_id,
                    reply_id=new_id(after=message_id),
                    event_id=new_id(),
                    content=content,
                    idempotency_key=idempotency_key,
                    now=now,
                    basic_allowance=res.settings.basic_messages_per_day,
                    traceparent=traceparent(),
                )
            except asyncpg.UniqueViolationError as exc:  # in another room, at the same moment
                raise IdempotencyKeyReusedError(KEY_REUSED) from exc
            if posted.outcome != "behind":
                break
            last_id = posted.last_id
    match posted.outcome:
        case "no_room":
            raise ChatroomNotFoundError("you have no such chatroom; see GET /chatroom")
        case "limit":
            raise rules.daily_limit_error(posted.allowance or 0, now)
        case "key_reused":
            raise IdempotencyKeyReusedError(KEY_REUSED)
    res.relay.nudge()
    return posted


async def list_messages(
    res: Resources, *, chatroom_id: UUID, user_id: UUID, before: UUID | None, limit: int
) -> tuple[list[Message], bool]:
    """Return a page of the room's messages, newest first, and whether there are older ones.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    async with res.db.acquire() as conn:
        if not await chatrooms.owns_chatroom(conn, chatroom_id=chatroom_id, user_id=user_id):
            raise ChatroomNotFoundError("you have no such chatroom; see GET /chatroom")
        messages = await store.list_messages(
            conn, chatroom_id=chatroom_id, before=before, limit=limit + 1
        )
    return messages[:limit], len(messages) > limit


async def get_message(
    res: Resources, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> Message:
    """Return one message or reply.

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

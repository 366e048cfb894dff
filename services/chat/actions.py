"""What chat can do, one function per verb; each opens its own transaction."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import orjson

from libs.common import inbox
from libs.common.clock import new_id, utc_now
from libs.common.errors import IdempotencyKeyReusedError
from libs.common.events import AIReplyFailed, AIReplyReady, AIReplyStarted, SubscriptionChanged
from libs.common.outbox import traceparent
from services.chat import rules, store
from services.chat.errors import ChatroomNotFoundError, MessageNotFoundError
from services.chat.models import Chatroom, Message, Posted, ReplyEnd
from services.chat.resources import Resources

PAGE = 20
SWEEP_BATCH = 100
KEY_REUSED = "this Idempotency-Key was used for another request; use a new one"


def rooms_key(user_id: UUID) -> str:
    """Return the cache key of the first page of a user's rooms."""
    return f"chatrooms:{user_id}"


async def create_chatroom(
    res: Resources, *, user_id: UUID, title: str, idempotency_key: str | None
) -> Chatroom:
    """Store a new room; the same key again returns the first one.

    Raises:
        IdempotencyKeyReusedError: the key made a room with another title.
    """
    now = utc_now()
    room = Chatroom(id=new_id(), title=title, created_at=now, active_at=now)
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn:
        created = await store.insert_chatroom(
            conn, room, user_id=user_id, idempotency_key=idempotency_key
        )
        if created is not None or idempotency_key is None:
            return room
        earlier = await store.find_chatroom_by_key(
            conn, user_id=user_id, idempotency_key=idempotency_key
        )
    if earlier.title != title:
        raise IdempotencyKeyReusedError(KEY_REUSED)
    return earlier


async def list_first_chatrooms(res: Resources, *, user_id: UUID) -> bytes:
    """Return the first page of the user's rooms as the JSON that clients get, mostly cached."""

    async def read() -> bytes:
        page = await list_chatrooms(res, user_id=user_id, cursor=None, limit=PAGE)
        # asyncpg's UUIDs are a class of their own
        return orjson.dumps(page, default=str, option=orjson.OPT_UTC_Z)

    return await res.cache.get_or_fill(rooms_key(user_id), read)


async def list_chatrooms(
    res: Resources, *, user_id: UUID, cursor: str | None, limit: int
) -> dict[str, object]:
    """Return a page of the user's rooms, the most recently active first.

    Raises:
        BadCursorError: `cursor` is not from such a list.
    """
    before = rules.parse_room_cursor(cursor) if cursor else None
    async with res.db.acquire() as conn:
        rooms = await store.list_chatrooms(conn, user_id=user_id, before=before, limit=limit + 1)
    page = rooms[:limit]
    has_more = len(rooms) > limit
    return {
        "data": page,
        "next_cursor": rules.room_cursor(page[-1]) if has_more else None,
        "has_more": has_more,
    }


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
        if not await store.owns_chatroom(conn, chatroom_id=chatroom_id, user_id=user_id):
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


async def record_start(res: Resources, event: AIReplyStarted) -> None:
    """Mark the reply as running; a no-op if it has ended or a later attempt runs."""
    async with res.db.acquire() as conn:
        await store.start_reply(
            conn,
            chatroom_id=event.chatroom_id,
            reply_id=event.reply_id,
            attempt=event.attempt,
            model=event.model,
        )


async def record_reply(res: Resources, event: AIReplyReady) -> None:
    """Store the finished reply; a second delivery of the same event changes nothing."""
    end = ReplyEnd(
        reply_id=event.reply_id,
        chatroom_id=event.chatroom_id,
        user_id=event.user_id,
        status="completed",
        attempt=event.attempt,
        content=event.content,
        model=event.model,
        finish_reason=event.finish_reason,
    )
    await _end_reply(res, end, event_id=event.event_id)


async def record_failure(res: Resources, event: AIReplyFailed) -> None:
    """Store why the reply failed; give its unit of quota back if nothing had been written."""
    end = ReplyEnd(
        reply_id=event.reply_id,
        chatroom_id=event.chatroom_id,
        user_id=event.user_id,
        status="failed",
        attempt=event.attempt,
        content=event.content,
        problem={"code": event.code, "detail": event.detail, "retryable": event.retryable},
    )
    await _end_reply(res, end, event_id=event.event_id)


async def fail_overdue_replies(res: Resources) -> int:
    """End replies that nobody finished within the deadline; return how many there were."""
    announced_before = utc_now() - timedelta(seconds=res.settings.reply_deadline_s)
    async with res.db.acquire() as conn:
        overdue = await store.list_overdue_replies(
            conn, announced_before=announced_before, limit=SWEEP_BATCH
        )
    problem = {
        "code": "reply_timed_out",
        "detail": "the reply took too long; send the message again",
        "retryable": True,
    }
    for reply in overdue:
        end = ReplyEnd(
            reply_id=reply.reply_id,
            chatroom_id=reply.chatroom_id,
            user_id=reply.user_id,
            status="failed",
            attempt=reply.attempt,
            problem=problem,
        )
        await _end_reply(res, end, event_id=None)
    return len(overdue)


async def _end_reply(res: Resources, end: ReplyEnd, *, event_id: UUID | None) -> None:
    now = utc_now()
    async with res.db.acquire() as conn, conn.transaction():
        if event_id and not await inbox.first_time(conn, consumer="end_reply", event_id=event_id):
            return
        if not await store.lock_chatroom(conn, end.chatroom_id):
            return  # deleted meanwhile, its messages with it
        asked_at = await store.end_reply(conn, end, now=now)
        if asked_at is None:
            return
        if end.status == "failed" and not end.content:
            await store.give_back_quota(conn, user_id=end.user_id, used_at=asked_at)
        await store.close_reply(conn, chatroom_id=end.chatroom_id, reply_id=end.reply_id)
        announced = await store.announce_next_reply(
            conn,
            chatroom_id=end.chatroom_id,
            event_id=new_id(),
            now=now,
            traceparent=traceparent(),
        )
    if announced:
        res.relay.nudge()


async def apply_subscription(res: Resources, event: SubscriptionChanged) -> None:
    """Keep what the user may do now; an older version than the known one changes nothing."""
    async with res.db.acquire() as conn:
        await store.upsert_entitlement(conn, event)

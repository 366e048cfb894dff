"""Rooms."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Literal
from uuid import UUID

import orjson

from libs.common import deleted_users, outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.errors import IdempotencyKeyReusedError, PreconditionFailedError
from libs.common.events import ChatroomChanged, ChatroomTitled, ReplyStopRequested
from services.chat import rules
from services.chat.errors import ChatroomNotFoundError
from services.chat.models import Chatroom, ChatroomChange
from services.chat.resources import Resources
from services.chat.store import chatrooms as store

PAGE = 20
KEY_REUSED = "this Idempotency-Key was used for another request; use a new one"
NO_ROOM = "you have no such chatroom; see GET /chatroom"


def rooms_key(user_id: UUID) -> str:
    """Return the cache key of the first page of a user's rooms."""
    return f"chatrooms:{user_id}"


async def create_chatroom(
    res: Resources, *, user_id: UUID, title: str | None, idempotency_key: str | None
) -> Chatroom:
    """Store a new room; the same key again returns the first one.

    Args:
        res: what chat holds open.
        user_id: whose room it is.
        title: None leaves it to the model to find one.
        idempotency_key: the client's name of the request, unique for the user.

    Raises:
        IdempotencyKeyReusedError: the key made a room with another title.
        AccountDeletedError: the token outlived its user.
    """
    now = utc_now()
    room = Chatroom(id=new_id(), title=title or "New chat", created_at=now, active_at=now)
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn, conn.transaction():
        created = await store.insert_chatroom(
            conn,
            room,
            user_id=user_id,
            title_source="user" if title else "default",
            idempotency_key=idempotency_key,
        )
        if created is None:
            return await earlier_chatroom(
                conn, user_id=user_id, title=room.title, idempotency_key=idempotency_key
            )
        await announce(conn, created, user_id=user_id, change="created")
    res.relay.nudge()
    return created


async def earlier_chatroom(
    conn: Connection, *, user_id: UUID, title: str, idempotency_key: str | None
) -> Chatroom:
    """Return the room that the key made before.

    Raises:
        IdempotencyKeyReusedError: it made another one, or one that was deleted meanwhile.
        AccountDeletedError: nothing was made before, for the user is no more.
    """
    await deleted_users.ensure_exists(conn, user_id)
    earlier = await store.find_chatroom_by_key(
        conn, user_id=user_id, idempotency_key=idempotency_key or ""
    )
    if earlier is None or earlier.title != title:
        raise IdempotencyKeyReusedError(KEY_REUSED)
    return earlier


async def announce(
    conn: Connection, room: Chatroom, *, user_id: UUID, change: Literal["created", "updated"]
) -> None:
    """Tell the user's devices about a new or changed room, in the caller's transaction."""
    event = ChatroomChanged(
        user_id=user_id,
        chatroom_id=room.id,
        change=change,
        version=room.version,
        chatroom=asdict(room),
    )
    await outbox.add(conn, event)


async def list_first_chatrooms(res: Resources, *, user_id: UUID) -> bytes:
    """Return the first page of the user's rooms as the JSON that clients get, mostly cached."""

    async def read() -> bytes:
        page = await list_chatrooms(res, user_id=user_id, cursor=None, limit=PAGE)
        # asyncpg's UUIDs are a class of their own
        return orjson.dumps(page, default=str, option=orjson.OPT_UTC_Z)

    return await res.cache.get_or_fill(rooms_key(user_id), read)


async def list_chatrooms(
    res: Resources,
    *,
    user_id: UUID,
    cursor: str | None,
    limit: int,
    archived: bool = False,
    pinned: bool | None = None,
) -> dict[str, object]:
    """Return a page of the user's rooms, the most recently active first.

    Raises:
        BadCursorError: `cursor` is not from such a list.
    """
    before = rules.parse_room_cursor(cursor) if cursor else None
    async with res.db.acquire() as conn:
        rooms = await store.list_chatrooms(
            conn,
            user_id=user_id,
            archived=archived,
            pinned=pinned,
            before=before,
            limit=limit + 1,
        )
    page = rooms[:limit]
    has_more = len(rooms) > limit
    return {
        "data": page,
        "next_cursor": rules.room_cursor(page[-1]) if has_more else None,
        "has_more": has_more,
    }


async def get_chatroom(res: Resources, *, chatroom_id: UUID, user_id: UUID) -> Chatroom:
    """Return one room.

    Raises:
        ChatroomNotFoundError: it is not the user's.
    """
    async with res.db.acquire() as conn:
        room = await store.find_chatroom(conn, chatroom_id=chatroom_id, user_id=user_id)
    if room is None:
        raise ChatroomNotFoundError(NO_ROOM)
    return room


async def change_chatroom(
    res: Resources,
    change: ChatroomChange,
    *,
    chatroom_id: UUID,
    user_id: UUID,
    versions: Collection[int] | None,
) -> Chatroom:
    """Rename, pin, archive or mark a room; a title given here is never replaced by the model's.

    Args:
        res: what chat holds open.
        change: what to change.
        chatroom_id: the room.
        user_id: its owner.
        versions: which versions may be changed; None is any.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        PreconditionFailedError: its version is another.
    """
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn, conn.transaction():
        await _lock(conn, chatroom_id=chatroom_id, user_id=user_id, versions=versions)
        room = await store.update_chatroom(conn, change, chatroom_id=chatroom_id, now=utc_now())
        await announce(conn, room, user_id=user_id, change="updated")
    res.relay.nudge()
    return room


async def delete_chatroom(
    res: Resources, *, chatroom_id: UUID, user_id: UUID, versions: Collection[int] | None
) -> None:
    """Delete the room with everything in it; replies that are being written are stopped.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        PreconditionFailedError: its version is none of `versions`.
    """
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn, conn.transaction():
        version = await _lock(conn, chatroom_id=chatroom_id, user_id=user_id, versions=versions)
        # Queued ones too: whoever follows one is told by ai that it has ended.
        for reply_id in await store.list_open_reply_ids(conn, chatroom_id):
            stop = ReplyStopRequested(user_id=user_id, chatroom_id=chatroom_id, reply_id=reply_id)
            await outbox.add(conn, stop)
        await store.delete_chatroom(conn, chatroom_id)
        deleted = ChatroomChanged(
            user_id=user_id, chatroom_id=chatroom_id, change="deleted", version=version + 1
        )
        await outbox.add(conn, deleted)
    res.relay.nudge()


async def apply_title(res: Resources, event: ChatroomTitled) -> None:
    """Give the room the model's title; one that the user gave stays, and so does an earlier one."""
    key = rooms_key(event.user_id)
    async with res.cache.changing(key), res.db.acquire() as conn, conn.transaction():
        room = await store.set_default_title(
            conn, chatroom_id=event.chatroom_id, user_id=event.user_id, title=event.title
        )
        if room is None:
            return
        await announce(conn, room, user_id=event.user_id, change="updated")
    res.relay.nudge()


async def _lock(
    conn: Connection, *, chatroom_id: UUID, user_id: UUID, versions: Collection[int] | None
) -> int:
    version = await store.lock_version(conn, chatroom_id=chatroom_id, user_id=user_id)
    if version is None:
        raise ChatroomNotFoundError(NO_ROOM)
    if versions is not None and version not in versions:
        raise PreconditionFailedError("it has changed meanwhile; read it again and repeat")
    return version

"""Rooms."""

from uuid import UUID

import orjson

from libs.common.clock import new_id, utc_now
from libs.common.errors import IdempotencyKeyReusedError
from services.chat import rules
from services.chat.models import Chatroom
from services.chat.resources import Resources
from services.chat.store import chatrooms as store

PAGE = 20
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

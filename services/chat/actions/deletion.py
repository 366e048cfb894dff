"""The end of a user."""

from libs.common import deleted_users
from libs.common.events import UserDeleted
from services.chat.actions.chatrooms import rooms_key
from services.chat.resources import Resources
from services.chat.store import chatrooms
from services.chat.store import deletion as store

ROOMS, MESSAGES = 100, 2000
"""Rows deleted at a time, so that no statement takes long."""


async def forget_user(res: Resources, event: UserDeleted) -> None:
    """Erase everything of the user; a second time does nothing.

    Replies that are being written end without us: ai hears the same, and theirs has no room here.

    Raises:
        StillErasingError: something is still being written; the event comes again.
    """
    user_id = event.user_id
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn:
        await deleted_users.mark(conn, user_id)
        await deleted_users.settle(conn)
        while rooms := await store.list_rooms(conn, user_id, limit=ROOMS):
            for room_id in rooms:
                while await store.delete_messages(conn, room_id, limit=MESSAGES) == MESSAGES:
                    pass
                await chatrooms.delete_chatroom(conn, room_id)
        # After the rooms: a post that consumed quota meanwhile held the lock of one.
        await store.delete_allowances(conn, user_id)
        await deleted_users.delete_events(conn, user_id)

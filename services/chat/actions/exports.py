"""What chat knows of a user, for the user."""

from collections.abc import AsyncIterator
from uuid import UUID

from libs.common.exports import document
from services.chat.actions.transfer import room_file
from services.chat.resources import Resources
from services.chat.store import exports


async def export_chat(res: Resources, user_id: UUID) -> AsyncIterator[bytes]:
    """Yield allowances and every room with all its branches, piece by piece.

    A room is written as `GET /chatroom/{id}/export` does, so each can be imported again.
    """
    async with res.db.acquire() as conn:
        allowances = await exports.find_allowances(conn, user_id)
        room_ids = await exports.list_room_ids(conn, user_id)
    yield b'{"allowances":' + document(allowances) + b',"chatrooms":'
    separator = b"["
    for room_id in room_ids:
        async with res.db.acquire() as conn:
            room = await exports.find_room(conn, room_id, user_id=user_id)
        if room is None:
            continue  # deleted meanwhile
        yield separator
        async for piece in room_file(res, room):
            yield piece
        separator = b","
    yield (b"[" if separator == b"[" else b"") + b"]}"

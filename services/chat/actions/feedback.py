"""What users think of replies."""

from typing import Literal
from uuid import UUID

from libs.common import outbox
from libs.common.events import MessageChanged
from services.chat.errors import MessageNotFoundError
from services.chat.resources import Resources
from services.chat.store import feedback as store


async def give_feedback(
    res: Resources,
    *,
    chatroom_id: UUID,
    message_id: UUID,
    user_id: UUID,
    thumb: Literal["up", "down"] | None,
    reason: str | None,
) -> None:
    """Store the user's opinion of a reply in place of any before; a `thumb` of None is no opinion.

    Raises:
        MessageNotFoundError: it is no reply in that room of the user's.
    """
    async with res.db.acquire() as conn, conn.transaction():
        created_at = await store.set_feedback(
            conn,
            chatroom_id=chatroom_id,
            message_id=message_id,
            user_id=user_id,
            thumb=thumb,
            reason=reason,
        )
        if created_at is None:
            raise MessageNotFoundError("there is no such reply in this chatroom")
        event = MessageChanged(
            user_id=user_id,
            chatroom_id=chatroom_id,
            message_id=message_id,
            change="updated",
            created_at=created_at,
            feedback={"thumb": thumb, "reason": reason},
        )
        await outbox.add(conn, event)
    res.relay.nudge()

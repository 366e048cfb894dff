"""Summaries of older turns."""

from libs.common.events import ChatroomSummarised
from services.chat.resources import Resources
from services.chat.store import summaries as store


async def record_summary(res: Resources, event: ChatroomSummarised) -> None:
    """Keep the summary; an older one, or one of a branch that is not shown, changes nothing.

    What it tells is part of the shown branch if its last message is: a branch has one past only.
    """
    async with res.db.acquire() as conn:
        await store.keep_summary(
            conn,
            chatroom_id=event.chatroom_id,
            user_id=event.user_id,
            summary=event.summary,
            until=event.until,
        )

"""Branches: other replies to a message, and which branch is shown."""

from uuid import UUID

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import MessageChanged
from libs.common.tracing import traceparent
from services.chat import rules
from services.chat.actions.messages import accept, list_messages
from services.chat.actions.quotas import terms_of
from services.chat.models import MessagePage, Posted
from services.chat.resources import Resources
from services.chat.store import branches as store
from services.chat.store import messages

PAGE = 20


async def regenerate_reply(
    res: Resources,
    *,
    chatroom_id: UUID,
    message_id: UUID,
    user_id: UUID,
    model: str | None,
    idempotency_key: str | None,
    guest: bool = False,
) -> Posted:
    """Ask for another reply, which is shown in the place of the present one.

    Args:
        res: what chat holds open.
        chatroom_id: the room.
        message_id: a reply, or the message that it answers.
        user_id: who asks.
        model: id of the model to be asked, None for the default.
        idempotency_key: the client's name of the request; the same one again asks for nothing.
        guest: whether nobody knows who the user is.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        MessageNotFoundError: there is no such message.
        ReplyInProgressError: a reply of the room is open.
        ModelNotInPlanError: the plan does not include the model.
        LimitReachedError: the plan does not cover another reply now; see `quotas.POLICIES`.
        IdempotencyKeyReusedError: the key was used for another request.
    """
    now = utc_now()

    async def write(conn: Connection, last_id: UUID | None) -> Posted:
        return await store.regenerate_reply(
            conn,
            user_id=user_id,
            chatroom_id=chatroom_id,
            message_id=message_id,
            reply_id=new_id(after=last_id),
            event_ids=[new_id(), new_id(), new_id()],
            model=res.settings.chosen(model),
            idempotency_key=idempotency_key,
            now=now,
            terms=terms_of(res, guest=guest),
            traceparent=traceparent(),
        )

    return await accept(res, write, user_id=user_id, now=now, guest=guest)


async def switch_path(
    res: Resources, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> MessagePage:
    """Show the branch of that message, below it the newest one; return the branch's end.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
        MessageNotFoundError: there is no such message.
        ReplyInProgressError: a reply of the room is open.
    """
    async with res.db.acquire() as conn, conn.transaction():
        outcome = await store.switch_path(
            conn, user_id=user_id, chatroom_id=chatroom_id, message_id=message_id
        )
        refused = outcome and rules.refusal(outcome)
        if refused:
            raise refused
        shown = await messages.find_message(
            conn, chatroom_id=chatroom_id, message_id=message_id, user_id=user_id
        )
        if shown:
            event = MessageChanged(
                user_id=user_id,
                chatroom_id=chatroom_id,
                message_id=message_id,
                change="updated",
                parent_id=shown.parent_id,
                created_at=shown.created_at,
            )
            await outbox.add(conn, event)
    res.relay.nudge()
    return await list_messages(
        res, chatroom_id=chatroom_id, user_id=user_id, before=None, limit=PAGE
    )

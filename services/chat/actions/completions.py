"""Conversations that a client keeps itself: each is answered once, in a hidden room of its own."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from libs.common.clock import new_id, utc_now
from libs.common.deleted_users import AccountDeletedError
from libs.common.errors import ThoughtflowError, ValidationFailedError
from libs.common.events import MAX_CONTENT
from services.chat import rules
from services.chat.actions import messages as posts
from services.chat.actions.capacity import ensure_capacity
from services.chat.models import Chatroom, Draft, Node, Posted
from services.chat.resources import Resources
from services.chat.store import chatrooms, transfer
from services.chat.store import completions as store

TITLE = "Completion"
KEPT = timedelta(days=1)
SWEEP_BATCH = 500


async def complete(
    res: Resources,
    *,
    user_id: UUID,
    messages: Sequence[tuple[str, str]],
    model: str | None = None,
    guest: bool = False,
) -> tuple[UUID, Posted]:
    """Post the last message of a conversation, under the limits of any post.

    Args:
        res: what chat holds open.
        user_id: who asks.
        messages: see `rules.fold_conversation`.
        model: id of the model to be asked, None for the default.
        guest: whether nobody knows who the user is.

    Returns:
        The hidden room, and the message as it was posted with its ids.

    Raises:
        ValidationFailedError: the last message is too long with the instructions before it.
        ModelNotInPlanError: the plan does not include the model.
        LimitReachedError: the plan does not cover another message now; see `quotas.POLICIES`.
        ReducedCapacityError: as of a post.
    """
    turns, question = rules.fold_conversation(messages)
    if len(question) > MAX_CONTENT:
        raise ValidationFailedError(
            f"the last message and the system messages have {len(question)} characters together; "
            f"send at most {MAX_CONTENT}"
        )
    await ensure_capacity(res, user_id)
    chatroom_id = await _make_hidden_room(res, turns, user_id=user_id)
    try:
        draft = Draft(user_id, chatroom_id, question, guest=guest, model=model)
        posted = await posts.post_message(res, draft)
    except ThoughtflowError:
        async with res.db.acquire() as conn:
            await store.delete_hidden_room(conn, chatroom_id=chatroom_id, user_id=user_id)
        raise
    return chatroom_id, posted


async def delete_old_rooms(res: Resources) -> int:
    """Delete hidden rooms a day after they were made; return how many."""
    created_before = utc_now() - KEPT
    total = 0
    while True:
        async with res.db.acquire() as conn:
            deleted = await store.delete_hidden_rooms(
                conn, created_before=created_before, limit=SWEEP_BATCH
            )
        total += deleted
        if deleted < SWEEP_BATCH:
            return total


async def _make_hidden_room(
    res: Resources, turns: Sequence[tuple[str, str]], *, user_id: UUID
) -> UUID:
    now = utc_now()
    room = Chatroom(id=new_id(), title=TITLE, created_at=now, active_at=now)
    nodes: list[Node] = []
    last_id: UUID | None = None
    for question, answer in turns:
        asked_id = new_id(after=last_id)
        nodes.append(Node(asked_id, last_id, "user", "completed", question, now, now))
        last_id = new_id(after=asked_id)
        nodes.append(Node(last_id, asked_id, "assistant", "completed", answer, now, now))
    async with res.db.acquire() as conn, conn.transaction():
        # A title that is the user's own is none that the model has to find.
        made = await chatrooms.insert_chatroom(
            conn, room, user_id=user_id, title_source="user", hidden=True
        )
        if made is None:
            raise AccountDeletedError
        await transfer.insert_nodes(conn, nodes, chatroom_id=room.id, user_id=user_id)
        await transfer.set_ends(conn, chatroom_id=room.id, leaf_id=last_id, last_message_id=last_id)
    return room.id

"""Rooms as files: export and import."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from libs.common.clock import new_id, utc_now
from services.chat.actions.chatrooms import announce, earlier_chatroom, get_chatroom, rooms_key
from services.chat.models import Chatroom, Node
from services.chat.resources import Resources
from services.chat.store import chatrooms
from services.chat.store import transfer as store

FORMAT, VERSION = "thoughtflow.chatroom", 1
BATCH = 100
_SPEAKERS = {"user": "You", "assistant": "Assistant"}


async def export_json(res: Resources, *, chatroom_id: UUID, user_id: UUID) -> AsyncIterator[bytes]:
    """Return the room with all its branches, piece by piece; what is sent meanwhile is left out.

    A reply that has not ended is told as `stopped`: this file will never get the rest of it.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    return room_file(res, await get_chatroom(res, chatroom_id=chatroom_id, user_id=user_id))


async def room_file(res: Resources, room: Chatroom) -> AsyncIterator[bytes]:
    """Yield the file of a room, whoever asks."""
    async with res.db.acquire() as conn:
        leaf_id, last_id = await store.find_ends(conn, room.id)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "chatroom": {
            "title": room.title,
            "created_at": room.created_at,
            "pinned": room.pinned,
            "archived": room.archived,
            "metadata": room.metadata,
        },
        "shown": leaf_id,
    }
    yield _dump(head)[:-1] + b',"messages":['
    separator = b""
    async for node in _nodes(res, room.id, until=last_id, shown_only=False):
        yield separator + b"\n" + _dump(_document(node))
        separator = b","
    yield b"]}\n"


async def export_markdown(
    res: Resources, *, chatroom_id: UUID, user_id: UUID
) -> AsyncIterator[bytes]:
    """Return the shown branch of the room for people to read, piece by piece.

    Raises:
        ChatroomNotFoundError: the room is not the user's.
    """
    room = await get_chatroom(res, chatroom_id=chatroom_id, user_id=user_id)

    async def pieces() -> AsyncIterator[bytes]:
        async with res.db.acquire() as conn:
            leaf_id, _ = await store.find_ends(conn, chatroom_id)
        yield f"# {' '.join(room.title.split())}\n".encode()
        async for node in _nodes(res, chatroom_id, until=leaf_id, shown_only=True):
            yield _markdown(node).encode()

    return pieces()


async def import_chatroom(
    res: Resources,
    room: Chatroom,
    nodes: Sequence[Node],
    *,
    shown: UUID | None,
    user_id: UUID,
    idempotency_key: str | None,
) -> Chatroom:
    """Store a room from a file, with new ids, as the caller's; costs no quota.

    Args:
        res: what chat holds open.
        room: what the file tells of it; its id is not used.
        nodes: the messages, each behind its parent; replies have ended.
        shown: the last message of the branch to be shown.
        user_id: whose room it becomes.
        idempotency_key: the client's name of the request, unique for the user.

    Raises:
        IdempotencyKeyReusedError: the key made a room with another title.
    """
    now = utc_now()
    room = replace(room, id=new_id(), active_at=now, version=1)
    path = _path(nodes, shown)
    new_ids: dict[UUID | None, UUID | None] = {None: None}
    last_id: UUID | None = None
    stored = []
    for node in nodes:
        last_id = new_ids[node.id] = new_id(after=last_id)
        parent_id = new_ids[node.parent_id]
        stored.append(replace(node, id=last_id, parent_id=parent_id, on_path=node.id in path))
    async with res.cache.changing(rooms_key(user_id)), res.db.acquire() as conn, conn.transaction():
        created = await chatrooms.insert_chatroom(
            conn, room, user_id=user_id, title_source="user", idempotency_key=idempotency_key
        )
        if created is None:
            return await earlier_chatroom(
                conn, user_id=user_id, title=room.title, idempotency_key=idempotency_key
            )
        await store.insert_nodes(conn, stored, chatroom_id=room.id, user_id=user_id)
        await store.set_ends(
            conn, chatroom_id=room.id, leaf_id=new_ids[shown], last_message_id=last_id
        )
        await announce(conn, created, user_id=user_id, change="created")
    res.relay.nudge()
    return created


def _path(nodes: Sequence[Node], leaf_id: UUID | None) -> set[UUID]:
    parents = {node.id: node.parent_id for node in nodes}
    path: set[UUID] = set()
    while leaf_id is not None:
        path.add(leaf_id)
        leaf_id = parents[leaf_id]
    return path


async def _nodes(
    res: Resources, chatroom_id: UUID, *, until: UUID | None, shown_only: bool
) -> AsyncIterator[Node]:
    """Yield messages by batches, so that a client that reads slowly holds no connection."""
    after: UUID | None = None
    while until is not None and (after is None or after < until):
        async with res.db.acquire() as conn:
            batch = await store.list_nodes(
                conn,
                chatroom_id=chatroom_id,
                after=after,
                until=until,
                shown_only=shown_only,
                limit=BATCH,
            )
        for node in batch:
            yield node
        if not batch:
            return
        after = batch[-1].id


def _document(node: Node) -> dict[str, Any]:
    feedback = {"thumb": node.thumb, "reason": node.feedback_reason} if node.thumb else None
    return {
        "id": node.id,
        "parent_id": node.parent_id,
        "role": node.role,
        "status": "stopped" if node.status in {"queued", "running"} else node.status,
        "content": node.content,
        "created_at": node.created_at,
        "ended_at": node.ended_at,
        "problem": node.problem,
        "model": node.model,
        "finish_reason": node.finish_reason,
        "feedback": feedback,
    }


def _markdown(node: Node) -> str:
    text = f"\n## {_SPEAKERS[node.role]}, {node.created_at:%Y-%m-%d %H:%M} UTC\n"
    if node.content:
        text += f"\n{node.content}\n"
    if node.status != "completed":
        detail = (node.problem or {}).get("detail", "")
        text += f"\n*({node.status}{': ' if detail else ''}{detail})*\n"
    return text


def _dump(document: dict[str, Any]) -> bytes:
    # asyncpg's UUIDs are a class of their own
    return orjson.dumps(document, default=str, option=orjson.OPT_UTC_Z)

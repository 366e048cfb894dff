"""Rooms from before migration 0002, which gave messages parents and rooms a shown branch."""

import re
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import MessagePosted
from services.chat.actions import replies
from services.chat.tests.integration.posting import (
    allow_everything,
    ready,
    shown,
    turn,
    waiting,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kept_outbox")]
MIGRATION = Path(__file__).parents[2] / "migrations" / "0002_branches_search_and_more.sql"


async def insert_as_0001_did(conn: Connection, user_id: UUID) -> tuple[UUID, list[UUID]]:
    """Store a room with three answered turns and one that is running, as it was before."""
    room_id, ids = new_id(), [new_id()]
    for _ in range(7):
        ids.append(new_id(after=ids[-1]))
    await conn.execute(
        "INSERT INTO chatroom (id, user_id, title, created_at, active_at, last_message_id,"
        " open_reply_id) VALUES ($1, $2, 'New chat', now(), now(), $3, $3)",
        room_id,
        user_id,
        ids[7],
    )
    for number, id_ in enumerate(ids):
        is_reply = number % 2 == 1
        await conn.execute(
            "INSERT INTO message (chatroom_id, id, user_id, role, status, reply_to, content,"
            " created_at, announced_at) VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now())",
            room_id,
            id_,
            user_id,
            "assistant" if is_reply else "user",
            "running" if number == 7 else "completed",
            ids[number - 1] if is_reply else None,
            "" if number == 7 else f"{number}",
        )
    return room_id, ids


async def run_updates_of_0002(conn: Connection) -> None:
    text = re.sub("--.*", "", MIGRATION.read_text(encoding="utf-8"))
    updates = [sql for sql in text.split(";") if sql.strip().startswith("UPDATE")]
    assert len(updates) == 3
    for sql in updates:
        await conn.execute(sql)


async def test_an_old_room_can_be_read_answered_continued_and_branched(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID, conn: Connection
) -> None:
    await allow_everything(app, user_id)
    await insert_as_0001_did(conn, user_id)  # parents must not reach into an earlier room
    room_id, ids = await insert_as_0001_did(conn, user_id)
    await run_updates_of_0002(conn)

    listed = (await client.get(f"/chatroom/{room_id}/message")).json()["data"][::-1]
    assert [m["parent_id"] for m in listed] == [None, *map(str, ids[:-1])]
    assert [m["sibling_ids"] for m in listed] == [[str(id_)] for id_ in ids]

    open_reply = type("Asked", (), {"reply_id": ids[7]})
    await replies.record_reply(
        app.state.resources,
        ready(open_reply, room_id, user_id, "7"),  # type: ignore[arg-type]
    )
    await turn(app, room_id, user_id, "8", "9")
    assert await shown(client, room_id) == [str(number) for number in range(10)]
    prompt = (await waiting(conn, MessagePosted))[-1]
    assert [t.content for t in prompt.history] == [str(number) for number in range(8)]

    await turn(app, room_id, user_id, "4b", "5b", edits=ids[4])
    assert await shown(client, room_id) == ["0", "1", "2", "3", "4b", "5b"]
    await client.put(f"/chatroom/{room_id}/path", json={"message_id": str(ids[4])})
    assert await shown(client, room_id) == [str(number) for number in range(10)]


async def test_an_old_room_without_messages_gets_its_first(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    await run_updates_of_0002(conn)

    await turn(app, room_id, user_id, "a", "A")

    assert await shown(client, room_id) == ["a", "A"]

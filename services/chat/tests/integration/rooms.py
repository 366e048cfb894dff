"""What the tests of whole rooms have in common."""

from typing import Any, TypeVar

import httpx2

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Event

EventT = TypeVar("EventT", bound=Event)
AT = "2026-01-02T03:04:05.678901Z"


async def in_outbox(conn: Connection, event: type[EventT]) -> list[EventT]:
    """Return the events of that kind that wait in the outbox, oldest first."""
    types = [each.TYPE for each in (event, *event.__subclasses__())]
    rows = await conn.fetch("SELECT payload FROM outbox WHERE type = ANY($1) ORDER BY id", types)
    return [event.model_validate_json(row["payload"]) for row in rows]


def message(role: str, content: str, parent: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """Return a message of an exported room."""
    return {
        "id": str(new_id()),
        "parent_id": parent and parent["id"],
        "role": role,
        "status": "completed",
        "content": content,
        "created_at": AT,
        "ended_at": AT,
        "problem": None,
        "model": None,
        "finish_reason": None,
        "feedback": None,
    } | more


def file(*messages: dict[str, Any], shown: str | None = None, **about: Any) -> dict[str, Any]:
    """Return an exported room; it shows the branch that ends with the last message."""
    room = {"title": "Tea", "created_at": AT, "pinned": False, "archived": False, "metadata": {}}
    return {
        "format": "thoughtflow.chatroom",
        "version": 1,
        "chatroom": room | about,
        "shown": shown or (messages[-1]["id"] if messages else None),
        "messages": list(messages),
    }


def dialogue(*texts: str) -> list[dict[str, Any]]:
    """Return messages that follow one another, the user's first."""
    said: list[dict[str, Any]] = []
    for i, text in enumerate(texts):
        role = ("user", "assistant")[i % 2]
        said.append(message(role, text, said[-1] if said else None))
    return said


async def make_room(client: httpx2.AsyncClient, *texts: str, **about: Any) -> str:
    """Import a room in which these were said; return its id."""
    response = await client.post("/chatroom/import", json=file(*dialogue(*texts), **about))
    assert response.status_code == 201, response.text
    room_id: str = response.json()["id"]
    return room_id

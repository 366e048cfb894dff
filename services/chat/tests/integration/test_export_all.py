"""Chat's part of a user's archive."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.testing import TokenIssuer
from services.chat.actions import completions, replies, transfer
from services.chat.tests.integration.posting import post, ready

pytestmark = pytest.mark.integration


async def archive(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/export")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = orjson.loads(answer.content)
    return document


async def test_every_room_is_whole_hidden_and_archived_ones_too(
    app: FastAPI,
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "BATCH", 2)
    for number in range(4):
        posted = await post(app, room_id, user_id, f"question {number}")
        await replies.record_reply(
            app.state.resources, ready(posted, room_id, user_id, f"answer {number}")
        )
    other = (await client.post("/chatroom", json={"title": "Attic"})).json()["id"]
    await client.patch(f"/chatroom/{other}", json={"archived": True, "metadata": {"a": 1}})
    asked = [("user", "hidden question")]
    await completions.complete(app.state.resources, user_id=user_id, messages=asked)

    found = await archive(client)

    tea, attic, hidden = found["chatrooms"]
    assert [message["content"] for message in tea["messages"]] == [
        f"{kind} {number}" for number in range(4) for kind in ("question", "answer")
    ]
    assert (attic["chatroom"]["archived"], attic["chatroom"]["metadata"]) == (True, {"a": 1})
    assert hidden["messages"][0]["content"] == "hidden question"
    assert found["allowances"]["used"] == 5
    exported = await client.get(f"/chatroom/{room_id}/export")
    assert tea == exported.json()


@pytest.fixture
async def stranger(app: FastAPI, issuer: TokenIssuer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://chat",
        headers=issuer.authorization(new_id()),
    ) as client:
        yield client


async def test_nothing_of_others_is_in_it(
    app: FastAPI, stranger: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    """Z1, Z5: a token's own and nothing else."""
    await post(app, room_id, user_id, "secret")

    found = await archive(stranger)

    assert found["chatrooms"] == []
    assert set(found["allowances"].values()) == {None}
    without_token = await stranger.get("/export", headers={"Authorization": ""})
    assert without_token.status_code == 401

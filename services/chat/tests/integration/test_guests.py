"""What guests may send: chat knows by itself, billing never speaks of them."""

import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.testing import TokenIssuer
from services.chat.settings import Settings
from services.chat.tests.integration.posting import turn, used

pytestmark = pytest.mark.integration
GUESTS = Settings.model_fields["guest_messages_per_day"].default


@pytest.fixture
def as_guest(issuer: TokenIssuer, user_id: UUID) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token(user_id, guest=True)}"}


@pytest.fixture(autouse=True)
def more_for_users(app: FastAPI) -> None:
    """Let users send three more than guests, so that the two limits can be told apart."""
    res = app.state.resources
    settings = res.settings.model_copy(update={"basic_messages_per_day": GUESTS + 3})
    object.__setattr__(res, "settings", settings)


async def test_a_guest_gets_a_guests_allowance_on_every_way_in(
    client: httpx2.AsyncClient,
    app: FastAPI,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    as_guest: dict[str, str],
) -> None:
    """C5: posts, completions and regenerations count alike, in parallel too."""
    posted = await turn(app, room_id, user_id, "first", "answer")
    regenerate = f"/chatroom/{room_id}/message/{posted.reply_id}/regenerate"
    again = await client.post(regenerate, headers=as_guest)
    said = {"messages": [{"role": "user", "content": "a"}]}
    left = GUESTS - 2
    ways: list[tuple[str, Any]] = [
        (f"/chatroom/{room_id}/message", {"content": "a"}),
        ("/completion", said),
    ] * 10

    answers = await asyncio.gather(
        *(client.post(path, json=body, headers=as_guest) for path, body in ways)
    )

    assert again.status_code == 202
    assert sorted(each.status_code for each in answers) == [202] * left + [429] * (20 - left)
    refusal = next(each.json() for each in answers if each.status_code == 429)
    assert (refusal["code"], refusal["limit"]) == ("daily_limit_reached", GUESTS)
    assert refusal["upgrade_url"] == "/auth/upgrade"
    assert await used(conn, user_id) == GUESTS


async def test_who_signs_up_gets_the_rest_of_a_users_day_at_once(
    client: httpx2.AsyncClient, room_id: UUID, as_guest: dict[str, str]
) -> None:
    path = f"/chatroom/{room_id}/message"
    for _ in range(GUESTS):
        await client.post(path, json={"content": "a"}, headers=as_guest)

    answers = [await client.post(path, json={"content": "a"}) for _ in range(4)]

    assert [each.status_code for each in answers] == [202] * 3 + [429]
    assert answers[-1].json()["upgrade_url"] == "/subscribe/pro"


async def test_a_guest_chooses_no_model_that_only_users_may(
    client: httpx2.AsyncClient, app: FastAPI, room_id: UUID, as_guest: dict[str, str]
) -> None:
    res = app.state.resources
    settings = res.settings.model_copy(update={"basic_models": "gemini-2.5-flash"})
    object.__setattr__(res, "settings", settings)
    path, body = f"/chatroom/{room_id}/message", {"content": "a", "model": "gemini-2.5-flash"}

    refused = await client.post(path, json=body, headers=as_guest)
    accepted = await client.post(path, json=body)

    assert (refused.status_code, refused.json()["code"]) == (403, "model_not_in_plan")
    assert accepted.status_code == 202


async def test_a_guest_without_messages_left_neither_edits_nor_asks_again(
    client: httpx2.AsyncClient,
    app: FastAPI,
    room_id: UUID,
    user_id: UUID,
    as_guest: dict[str, str],
) -> None:
    posted = await turn(app, room_id, user_id, "first", "answer")
    for _ in range(GUESTS - 1):
        posted = await turn(app, room_id, user_id, "question", "answer")
    path = f"/chatroom/{room_id}/message"

    answers = [
        await client.patch(f"{path}/{posted.message_id}", json={"content": "b"}, headers=as_guest),
        await client.post(f"{path}/{posted.reply_id}/regenerate", headers=as_guest),
    ]

    assert [each.status_code for each in answers] == [429, 429]
    assert {each.json()["limit"] for each in answers} == {GUESTS}

"""A guest's way, with every service running."""

from typing import Any

import httpx2
import pytest

from libs.common.clock import new_id
from services.chat.settings import Settings
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
GUESTS = Settings.model_fields["guest_messages_per_day"].default


async def test_a_guest_chats_a_little_signs_up_and_keeps_the_chat(stack: Stack) -> None:
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        guest = (await http.post("/auth/guest")).json()
        use(http, guest)
        room = (await http.post("/chatroom", json={"title": "a guest's"})).json()["id"]
        path = f"/chatroom/{room}/message"
        waiting = {"Prefer": "wait=20"}
        first = await http.post(path, json={"content": "What is 2 + 3?"}, headers=waiting)
        posts = [await http.post(path, json={"content": "more"}) for _ in range(GUESTS)]
        paying = await http.post("/subscribe/pro", json={})
        who = {"email": f"{new_id()}@example.com"}
        otp = (await http.post("/auth/send-otp", json=who)).json()["otp"]
        user = (await http.post("/auth/upgrade", json={**who, "otp": otp})).json()
        old = await http.post("/auth/refresh", json={"refresh_token": guest["refresh_token"]})
        use(http, user)
        rooms = (await http.get("/chatroom")).json()["data"]
        again = await http.post(path, json={"content": "and now?"})

    assert first.status_code == 201, first.text
    assert [each.status_code for each in posts] == [202] * (GUESTS - 1) + [429]
    assert posts[-1].json()["upgrade_url"] == "/auth/upgrade"
    assert (paying.status_code, paying.json()["code"]) == (403, "account_required")
    assert (user["kept"], user["user"]["id"]) == (True, guest["user"]["id"])
    assert old.status_code == 401
    assert [each["id"] for each in rooms] == [room]
    assert again.status_code == 202


def use(http: httpx2.AsyncClient, login: dict[str, Any]) -> None:
    http.headers["Authorization"] = f"Bearer {login['access_token']}"

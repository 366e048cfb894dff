"""Requests about API keys, of somebody who is logged in."""

from typing import Any

import httpx2

from services.auth.tests.integration.person import Person

Login = dict[str, Any]
PATH = "/user/me/api-key"


async def make(ada: Person, login: Login, **given: Any) -> httpx2.Response:
    body = {"name": "my program", "scopes": ["chat", "read"], **given}
    return await send(ada, "POST", PATH, login, body)


async def made(ada: Person, login: Login, **given: Any) -> dict[str, Any]:
    answer = await make(ada, login, **given)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def send(
    ada: Person, method: str, path: str, login: Login, body: dict[str, Any] | None = None
) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    return await ada.client.request(method, path, headers=headers, json=body)


async def listed(ada: Person, login: Login) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await ada.call("GET", PATH, login)).json()["data"]
    return data


async def exchange(ada: Person, key: str) -> httpx2.Response:
    return await ada.client.post("/exchange", json={"credential": key})


async def opens(ada: Person, key: str) -> str:
    """Return the code of the refusal, or `ok`."""
    answer = await exchange(ada, key)
    return "ok" if answer.status_code == 200 else str(answer.json()["code"])

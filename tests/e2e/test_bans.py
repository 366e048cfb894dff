"""From a second factor to a role, and from a role to somebody's closed connection."""

import time
from typing import Any

import httpx2
import jwt
import pyotp
import pytest

from libs.common.clock import new_id
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def answered(
    http: httpx2.AsyncClient, path: str, body: Any, login: dict[str, Any] | None = None
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {login['access_token']}"} if login else {}
    answer = await http.post(path, json=body, headers=headers)
    assert answer.status_code < 300, (path, answer.text)
    told: dict[str, Any] = answer.json()
    return told


async def log_in(http: httpx2.AsyncClient, who: dict[str, str]) -> dict[str, Any]:
    await answered(http, "/auth/signup", who)
    otp = (await answered(http, "/auth/send-otp", who))["otp"]
    return await answered(http, "/auth/verify-otp", {**who, "otp": otp})


async def become_admin(stack: Stack, http: httpx2.AsyncClient) -> dict[str, Any]:
    """Return a login that passed its factor and has the role."""
    who = {"email": f"{new_id()}@example.com"}
    login = await log_in(http, who)
    totp = pyotp.TOTP((await answered(http, "/user/me/factor", {}, login))["secret"])
    codes = await answered(http, "/user/me/factor/confirm", {"code": totp.now()}, login)
    # As `grant-role` would, whose environment only auth's process has.
    await stack.query(
        lambda conn: conn.execute(
            "UPDATE auth.account SET role = 'admin' WHERE email = $1", who["email"]
        )
    )
    challenge = (await log_in(http, who))["challenge"]
    body = {"challenge": challenge, "recovery_code": codes["recovery_codes"][0]}
    return await answered(http, "/auth/verify-factor", body)


async def test_a_ban_closes_connections_and_ends_logins_within_five_seconds(stack: Stack) -> None:
    """A5: and what was somebody is nobody, to whoever asks."""
    who, unknown = ({"email": f"{new_id()}@example.com"} for _ in range(2))
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        admin = await become_admin(stack, http)
        login = await log_in(http, who)
        bearer = {"Authorization": f"Bearer {login['access_token']}"}
        async with http.stream("GET", "/event", headers=bearer) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            began = time.monotonic()
            path = f"/admin/user/{login['user']['id']}/ban"
            banned = await answered(http, path, {"reason": "spam"}, admin)
            told = [line async for line in lines]
            closed_after_s = time.monotonic() - began

        refused = [
            await http.get("/chatroom", headers=bearer),
            await http.post("/auth/refresh", json={"refresh_token": login["refresh_token"]}),
        ]
        again = []
        for each in (who, unknown):
            otp = (await answered(http, "/auth/send-otp", each))["otp"]
            again.append(await http.post("/auth/verify-otp", json={**each, "otp": otp}))

    claims = jwt.decode(admin["access_token"], options={"verify_signature": False})
    assert (claims["role"], claims["acr"]) == ("admin", "two_steps")
    assert banned["ban_reason"] == "spam"
    assert any("session.revoked" in line for line in told)
    assert closed_after_s < 5
    assert [each.json()["code"] for each in refused] == ["session_revoked", "refresh_invalid"]
    problems = [each.json() | {"request_id": ""} for each in again]
    assert problems[0] == problems[1]
    assert problems[0]["code"] == "otp_invalid"

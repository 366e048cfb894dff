"""A second factor and a ban count on every way in: API keys, guests who sign up, other issuers."""

import asyncio
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.events import SessionRevoked
from services.auth.settings import Settings
from services.auth.tests.integration.authenticator import add_factor, verify
from services.auth.tests.integration.key_owner import exchange, made
from services.auth.tests.integration.other_issuer import (
    OtherIssuer,
    ago,
    configured,
    enter,
    refused,
)
from services.auth.tests.integration.person import Person, listening
from services.auth.tests.integration.staff import employ

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings, issuer: OtherIssuer) -> Settings:
    return configured(settings, issuer)


@pytest.fixture
def bob(ada: Person) -> Person:
    return Person(ada.client, "bob@example.org", address="198.51.100.1")


@pytest.fixture
async def admin(app: FastAPI, ada: Person) -> dict[str, Any]:
    """Ada's login."""
    return await employ(app, ada, "admin")


async def ban(ada: Person, admin: dict[str, Any], user_id: str) -> None:
    answer = await ada.call("POST", f"/admin/user/{user_id}/ban", admin, {"reason": "spam"})
    assert answer.status_code == 200, answer.text


async def guest(ada: Person) -> dict[str, Any]:
    login: dict[str, Any] = (await ada.client.post("/auth/guest")).json()
    return login


async def test_a_guest_who_signs_up_as_somebody_with_a_factor_needs_it(
    ada: Person, bob: Person
) -> None:
    device = await add_factor(bob, await bob.log_in())
    body = {"email": bob.email, "otp": await bob.ask_code()}

    answer = await ada.call("POST", "/auth/upgrade", await guest(ada), body)

    assert answer.json()["status"] == "factor_required"
    assert set(answer.json()) == {"status", "next", "challenge", "expires_in"}
    login = await verify(bob, answer.json()["challenge"], code=device.code(1))
    assert login.json()["user"]["email"] == bob.email


async def test_a_guest_does_not_become_somebody_who_is_banned(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    await ban(ada, admin, (await bob.log_in())["user"]["id"])
    sessions = "SELECT count(*) FROM session WHERE revoked_at IS NULL"
    body = {"email": bob.email, "otp": await bob.ask_code()}
    caller = await guest(ada)
    before = await conn.fetchval(sessions)

    answer = await ada.call("POST", "/auth/upgrade", caller, body)

    assert (answer.status_code, answer.json()["code"]) == (401, "otp_invalid")
    assert await conn.fetchval(sessions) == before


async def test_a_ban_ends_api_keys_and_has_their_tokens_refused(
    ada: Person, admin: dict[str, Any], bob: Person, rabbitmq_url: str
) -> None:
    login = await bob.log_in()
    key = await made(bob, login)
    assert (await exchange(bob, key["key"])).status_code == 200
    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        await ban(ada, admin, login["user"]["id"])
        async with asyncio.timeout(5):
            events = [orjson.loads(await bodies.get()) for _ in range(2)]

    answer = await exchange(bob, key["key"])

    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_invalid")
    assert key["id"] in {event["session_id"] for event in events}
    await ada.call("POST", f"/admin/user/{login['user']['id']}/unban", admin)
    assert (await exchange(bob, key["key"])).status_code == 401


async def test_another_issuers_user_stays_out_while_banned(
    ada: Person, admin: dict[str, Any], issuer: OtherIssuer
) -> None:
    user_id = (await enter(ada, issuer.token("ed", iat=ago(60))))["claims"]["sub"]
    await ban(ada, admin, user_id)

    # A second later than the ban, as far as its clock tells.
    later = issuer.token("ed", iat=ago(-2))

    assert await refused(ada, later) == "401 session_revoked"
    await ada.call("POST", f"/admin/user/{user_id}/unban", admin)
    assert (await enter(ada, later))["claims"]["sub"] == user_id


async def test_who_does_not_log_in_by_code_has_no_second_factor(
    ada: Person, issuer: OtherIssuer
) -> None:
    theirs = await enter(ada, issuer.token("ed"))

    answers = [
        await ada.call("POST", "/user/me/factor", login) for login in (await guest(ada), theirs)
    ]

    told = {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert told == {(409, "factor_unavailable")}

"""Adding, using and removing a second factor."""

import asyncio
from typing import Any

import jwt
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from services.auth.actions import audit, housekeeping
from services.auth.tests.integration.authenticator import (
    Authenticator,
    add_factor,
    challenge_of,
    verify,
)
from services.auth.tests.integration.person import Person

pytestmark = pytest.mark.integration
FACTOR = "/user/me/factor"


def claims_of(login: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(login["access_token"], options={"verify_signature": False})
    return claims


async def test_a_factor_that_no_code_has_confirmed_changes_nothing(ada: Person) -> None:
    login = await ada.log_in()
    begun = (await ada.call("POST", FACTOR, login)).json()
    again = (await ada.call("POST", FACTOR, login)).json()

    refused = await ada.call("POST", f"{FACTOR}/confirm", login, {"code": "000000"})

    app = Authenticator(begun["secret"])
    assert set(begun) == {"status", "next", "secret", "uri"}
    assert again["secret"] != begun["secret"]
    replaced = await ada.call("POST", f"{FACTOR}/confirm", login, {"code": app.code()})
    for answer in (refused, replaced):
        assert (answer.status_code, answer.json()["code"]) == (401, "factor_invalid")
    assert (await ada.call("GET", FACTOR, login)).json() == {"data": []}
    assert "access_token" in await ada.log_in()


async def test_a_login_with_a_factor_gets_no_token_before_its_code(
    ada: Person, conn: Connection
) -> None:
    await add_factor(ada, await ada.log_in())
    sessions = await conn.fetchval("SELECT count(*) FROM session")

    answer = await ada.guess(await ada.ask_code())

    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"status", "next", "challenge", "expires_in"}
    assert (body["status"], body["next"]) == ("factor_required", "/auth/verify-factor")
    assert body["expires_in"] == 300
    assert await conn.fetchval("SELECT count(*) FROM session") == sessions
    assert (await ada.me(body["challenge"])).status_code == 401
    assert (await ada.refresh(body["challenge"])).status_code == 401


async def test_code_and_factor_open_a_session_whose_tokens_say_so_also_later(
    ada: Person,
) -> None:
    first = await ada.log_in()
    app = await add_factor(ada, first)

    answer = await verify(ada, await challenge_of(ada), code=app.code(1))

    login = answer.json()
    assert answer.status_code == 200
    assert set(login) == set(first)
    refreshed = (await ada.refresh(login["refresh_token"])).json()
    confirmed = (await ada.refresh(first["refresh_token"])).json()
    for each in (login, refreshed, confirmed):
        claims = claims_of(each)
        assert (claims["amr"], claims["acr"]) == (["otp", "mfa"], "two_steps")
    assert (claims_of(first)["amr"], claims_of(first)["acr"]) == (["otp"], "one_step")


async def test_a_login_from_before_the_factor_stays_as_weak_as_it_was(ada: Person) -> None:
    other, mine = await ada.log_in(), await ada.log_in()
    await add_factor(ada, mine)

    refreshed = (await ada.refresh(other["refresh_token"])).json()

    assert claims_of(refreshed)["acr"] == "one_step"


async def test_confirming_shows_ten_recovery_codes_and_the_list_how_many_are_left(
    ada: Person,
) -> None:
    login = await ada.log_in()
    app = await add_factor(ada, login)
    await verify(ada, await challenge_of(ada), recovery_code=app.recovery_codes[0])

    (listed,) = (await ada.call("GET", FACTOR, login)).json()["data"]

    assert len(set(app.recovery_codes)) == 10
    assert set(listed) == {"kind", "created_at", "recovery_codes_left"}
    assert (listed["kind"], listed["recovery_codes_left"]) == ("totp", 9)


async def test_a_second_factor_is_one(ada: Person) -> None:
    login = await ada.log_in()
    app = await add_factor(ada, login)

    begun = await ada.call("POST", FACTOR, login)
    confirmed = await ada.call("POST", f"{FACTOR}/confirm", login, {"code": app.code(1)})

    for answer in (begun, confirmed):
        assert (answer.status_code, answer.json()["code"]) == (409, "factor_exists")


@pytest.mark.parametrize("proof", ["code", "recovery_code"])
async def test_a_fresh_code_removes_the_factor_and_what_logins_owed_to_it(
    ada: Person, conn: Connection, proof: str
) -> None:
    login = await ada.log_in()
    app = await add_factor(ada, login)
    pending = await challenge_of(ada)
    body = {proof: app.code(1) if proof == "code" else app.recovery_codes[3]}

    removed = await ada.call("DELETE", FACTOR, login, body)

    assert (removed.status_code, removed.content) == (204, b"")
    assert (await ada.call("GET", FACTOR, login)).json() == {"data": []}
    assert claims_of((await ada.refresh(login["refresh_token"])).json())["acr"] == "one_step"
    late = await verify(ada, pending, recovery_code=app.recovery_codes[4])
    assert (late.status_code, late.json()["code"]) == (401, "factor_challenge_invalid")
    assert "access_token" in await ada.log_in()
    for table in ("factor", "recovery_code", "factor_challenge"):
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_stale_or_wrong_code_removes_nothing_and_counts(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    app = await add_factor(ada, login)
    used, wrong = app.code(), app.wrong()

    answers = [await ada.call("DELETE", FACTOR, login, {"code": each}) for each in (used, wrong)]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (401, "factor_invalid")
    assert await conn.fetchval("SELECT failures FROM factor") == 2
    await conn.execute("UPDATE factor SET failures = 20")
    full = await ada.call("DELETE", FACTOR, login, {"code": app.code(1)})
    assert (full.status_code, full.json()["code"]) == (429, "factor_attempts_exceeded")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", FACTOR, None),
        ("POST", FACTOR, None),
        ("POST", f"{FACTOR}/confirm", {"code": "123456"}),
        ("DELETE", FACTOR, {"code": "123456"}),
    ],
)
async def test_an_ended_login_manages_no_factor(
    ada: Person, method: str, path: str, body: Any
) -> None:
    """J10: even where its token still passes."""
    ended = await ada.log_in()
    await ada.call("POST", "/auth/logout", ended)

    answer = await ada.call(method, path, ended, body)

    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


@pytest.mark.parametrize(
    "body", [{}, {"code": "12345"}, {"code": "123456", "recovery_code": "ABCDE-FGHJK"}]
)
async def test_what_is_no_proof_is_refused_and_not_counted(
    ada: Person, conn: Connection, body: dict[str, str]
) -> None:
    login = await ada.log_in()
    await add_factor(ada, login)

    answers = [
        await ada.call("DELETE", FACTOR, login, body),
        await verify(ada, await challenge_of(ada), **body),
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert await conn.fetchval("SELECT failures FROM factor") == 0


async def test_neither_secret_nor_codes_are_stored_or_logged_in_clear(
    ada: Person, conn: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    """A7, P2: of the second factor, too."""
    login = await ada.log_in()
    app = await add_factor(ada, login)
    challenge = await challenge_of(ada)
    await verify(ada, challenge, code=app.code(1))
    await verify(ada, await challenge_of(ada), recovery_code=app.recovery_codes[0])
    secrets = [app.secret, challenge, *app.recovery_codes]
    secrets += [code.replace("-", "") for code in app.recovery_codes]

    stored = ""
    for table in ("factor", "recovery_code", "factor_challenge", "session", "audit"):
        stored += str([row[0] for row in await conn.fetch(f"SELECT t::text FROM {table} t")])
    logged = "".join(capfd.readouterr())

    assert "request" in logged
    for secret in secrets:
        assert secret not in stored
        assert secret.encode().hex() not in stored
        assert secret not in logged
    assert f'"{app.code(1)}"' not in logged


async def test_what_happens_to_a_factor_is_audited(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    login = await ada.log_in()
    device = await add_factor(ada, login)
    await verify(ada, await challenge_of(ada), recovery_code=device.recovery_codes[0])
    await ada.call("DELETE", FACTOR, login, {"code": device.code(1)})

    rows = await conn.fetch("SELECT actor, subject, action FROM audit ORDER BY seq")

    assert [row["action"] for row in rows] == [
        *("login", "factor_added", "login", "recovery_code_used", "factor_removed"),
    ]
    assert {str(row[who]) for row in rows for who in ("actor", "subject")} == {login["user"]["id"]}
    assert (await audit.verify(app.state.resources.db))[0] == 5


async def test_logins_that_nobody_finished_are_forgotten(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    await add_factor(ada, await ada.log_in())
    await challenge_of(ada)
    await conn.execute("UPDATE factor_challenge SET expires_at = now() - interval '61 minutes'")
    await challenge_of(ada)

    await housekeeping.delete_stale(app.state.resources)

    assert await conn.fetchval("SELECT count(*) FROM factor_challenge") == 1


async def test_a_factor_that_is_confirmed_twice_at_once_has_one_set_of_recovery_codes(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    device = Authenticator((await ada.call("POST", FACTOR, login)).json()["secret"])
    body = {"code": device.code()}

    answers = await asyncio.gather(
        *(ada.call("POST", f"{FACTOR}/confirm", login, body) for _ in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert await conn.fetchval("SELECT count(*) FROM recovery_code") == 10


async def test_an_unknown_challenge_is_refused(ada: Person) -> None:
    answer = await verify(ada, str(new_id()), code="123456")

    assert (answer.status_code, answer.json()["code"]) == (401, "factor_challenge_invalid")

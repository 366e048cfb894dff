"""Tokens of another issuer: whose they are, and what becomes of those people."""

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.auth import rules
from services.auth.actions import housekeeping
from services.auth.settings import Settings
from services.auth.store import external_logins
from services.auth.tests.integration.key_owner import exchange, made
from services.auth.tests.integration.other_issuer import (
    ISSUER,
    SUBJECT,
    OtherIssuer,
    ago,
    configured,
    enter,
    refused,
)
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings, issuer: OtherIssuer) -> Settings:
    return configured(settings, issuer)


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_a_user_is_made_on_first_sight_and_known_again(
    ada: Person, issuer: OtherIssuer, rabbitmq_url: str, kid: str
) -> None:
    async with listening(rabbitmq_url, UserRegistered) as bodies:
        first = await enter(ada, issuer.token(kid))
        async with asyncio.timeout(5):
            event = UserRegistered.model_validate_json(await bodies.get())
    again = await enter(ada, issuer.token("rsa"))
    other = await enter(ada, issuer.token(kid, sub="auth0|bob"))

    me = (await ada.me(first["access_token"])).json()
    assert me["id"] == str(event.user_id) == again["claims"]["sub"] != other["claims"]["sub"]
    assert first["claims"]["sid"] == again["claims"]["sid"] != other["claims"]["sid"]
    assert (me["phone"], me["email"], me["guest"], me["verified"]) == (None, None, False, True)
    assert (first["claims"]["role"], first["expires_in"]) == ("user", 900)
    assert "scope" not in first["claims"]


async def test_parallel_first_tokens_make_one_user(
    ada: Person, issuer: OtherIssuer, conn: Connection
) -> None:
    """R2, for users of another issuer."""
    logins = await asyncio.gather(*(enter(ada, issuer.token("ed")) for _ in range(10)))

    assert len({(each["claims"]["sub"], each["claims"]["sid"]) for each in logins}) == 1
    assert await conn.fetchval("SELECT count(*) FROM account") == 1


async def test_neither_issuer_nor_subject_is_kept(
    ada: Person, issuer: OtherIssuer, conn: Connection
) -> None:
    await enter(ada, issuer.token())

    row = await conn.fetchrow("SELECT * FROM external_login, account, session")

    assert row is not None
    assert not any(word in str(dict(row)) for word in (SUBJECT, ISSUER))
    assert len(row["subject_hash"]) == 32


async def test_our_own_token_lives_no_longer_than_theirs(ada: Person, issuer: OtherIssuer) -> None:
    login = await enter(ada, issuer.token(exp=ago(-100)))

    assert 90 < login["expires_in"] <= 100


async def test_a_logout_ends_the_tokens_before_it_and_none_after(
    ada: Person, issuer: OtherIssuer
) -> None:
    """J10: whoever has an old token cannot come back by it."""
    before = issuer.token(iat=ago(60))
    login = await enter(ada, before)

    await ada.call("POST", "/auth/logout", login)

    assert await refused(ada, before) == "401 session_revoked"
    after = await enter(ada, issuer.token(iat=ago(-2)))
    assert after["claims"]["sub"] == login["claims"]["sub"]
    assert after["claims"]["sid"] != login["claims"]["sid"]


async def test_a_deleted_user_comes_back_by_a_new_token_only_and_as_somebody_else(
    ada: Person, issuer: OtherIssuer
) -> None:
    before = issuer.token(iat=ago(60))
    login = await enter(ada, before)

    answer = await ada.call("DELETE", "/user/me", login)

    assert answer.status_code == 202
    assert await refused(ada, before) == "401 session_revoked"
    after = await enter(ada, issuer.token(iat=ago(-2)))
    assert after["claims"]["sub"] != login["claims"]["sub"]


async def test_what_stays_of_a_deleted_user_goes_once_its_tokens_are_too_old(
    ada: Person, issuer: OtherIssuer, app: FastAPI, conn: Connection
) -> None:
    login = await enter(ada, issuer.token(iat=ago(60)))
    await enter(ada, issuer.token(sub="auth0|bob"))
    await ada.call("DELETE", "/user/me", login)
    count = "SELECT count(*) FROM external_login"

    await housekeeping.delete_stale(app.state.resources)
    at_once = await conn.fetchval(count)
    past = utc_now() - rules.EXTERNAL_TOKEN_AGE - timedelta(hours=2)
    await conn.execute("UPDATE external_login SET refused_until = $1 WHERE user_id IS NULL", past)
    await housekeeping.delete_stale(app.state.resources)

    assert (at_once, await conn.fetchval(count)) == (2, 1)


async def test_leaving_and_coming_at_once_never_wait_in_a_circle(
    ada: Person, issuer: OtherIssuer
) -> None:
    token = issuer.token(iat=ago(60))
    login = await enter(ada, token)

    answers = await asyncio.gather(
        *(exchange(ada, token) for _ in range(10)),
        ada.call("DELETE", "/user/me", login),
        *(exchange(ada, token) for _ in range(10)),
    )

    assert {each.status_code for each in answers} <= {200, 202, 401}
    assert await refused(ada, token) == "401 session_revoked"


async def test_an_account_that_came_meanwhile_is_locked_before_its_login(
    ada: Person, issuer: OtherIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await enter(ada, issuer.token())
    find, seen = external_logins.find_user_id, []

    async def find_late(conn: Connection, subject_hash: bytes) -> UUID | None:
        seen.append(await find(conn, subject_hash))
        return None if len(seen) == 1 else seen[-1]

    monkeypatch.setattr(external_logins, "find_user_id", find_late)

    again = await enter(ada, issuer.token())

    assert len(seen) == 2
    assert again["claims"]["sid"] == first["claims"]["sid"]


async def test_such_a_user_may_have_api_keys(ada: Person, issuer: OtherIssuer) -> None:
    login = await enter(ada, issuer.token())

    key = await made(ada, login)

    assert (await exchange(ada, key["key"])).status_code == 200


async def test_an_issuer_that_is_away_is_no_verdict_on_its_tokens(
    ada: Person, issuer: OtherIssuer
) -> None:
    issuer.is_away = True

    answer: httpx2.Response = await exchange(ada, issuer.token())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

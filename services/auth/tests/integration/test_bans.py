"""Banned: as good as unknown, at once and until unbanned."""

import asyncio
import statistics
import time
from typing import Any

import httpx2
import orjson
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import SessionRevoked
from libs.common.testing import eventually
from services.auth.tests.integration.authenticator import add_factor, challenge_of, verify
from services.auth.tests.integration.person import Person, listening, wrong
from services.auth.tests.integration.staff import employ

pytestmark = pytest.mark.integration


@pytest.fixture
async def admin(app: FastAPI, ada: Person) -> dict[str, Any]:
    """Ada's login."""
    return await employ(app, ada, "admin")


@pytest.fixture
def bob(ada: Person) -> Person:
    return Person(ada.client, "bob@example.org", address="198.51.100.1")


async def ban(ada: Person, admin: dict[str, Any], user_id: str) -> httpx2.Response:
    return await ada.call("POST", f"/admin/user/{user_id}/ban", admin, {"reason": "spam"})


def shape(answer: httpx2.Response, **hidden: Any) -> tuple[int, list[str], dict[str, Any]]:
    body = answer.json() | {"request_id": None} | hidden
    return answer.status_code, sorted(answer.headers), body


async def test_a_ban_ends_every_login_and_tells_those_who_hold_connections(
    ada: Person, admin: dict[str, Any], bob: Person, rabbitmq_url: str, conn: Connection
) -> None:
    logins = [await bob.log_in() for _ in range(3)]
    user_id = logins[0]["user"]["id"]
    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        answer = await ban(ada, admin, user_id)
        async with asyncio.timeout(5):
            events = [orjson.loads(await bodies.get()) for _ in logins]

    assert answer.status_code == 200
    assert (answer.json()["banned_at"] is None, answer.json()["ban_reason"]) == (False, "spam")
    assert {(event["user_id"], event["reason"]) for event in events} == {(user_id, "account")}
    assert len({event["session_id"] for event in events}) == 3
    for login in logins:
        refused = await bob.refresh(login["refresh_token"])
        assert (refused.status_code, refused.json()["code"]) == (401, "refresh_invalid")
    entries = await conn.fetch("SELECT actor, subject FROM audit WHERE action = 'banned'")
    assert [tuple(map(str, entry)) for entry in entries] == [(admin["user"]["id"], user_id)]


async def test_to_who_is_banned_it_is_as_if_they_had_no_account(
    ada: Person, admin: dict[str, Any], bob: Person
) -> None:
    """A5: status, headers and body are those of an unknown identifier, code by code."""
    eve = Person(ada.client, "eve@example.org", address="198.51.101.1")
    await ban(ada, admin, (await bob.log_in())["user"]["id"])

    told = []
    for person in (bob, eve):
        sent = await person.post("send-otp")
        otp = sent.json()["otp"]
        answers = [sent, *[await person.guess(each) for each in (wrong(otp), otp, otp)]]
        told.append([shape(answers[0], otp=None), *map(shape, answers[1:])])

    assert told[0] == told[1]
    assert [status for status, *_ in told[0]] == [202, 401, 401, 401]


async def test_banned_and_unknown_identifiers_wait_as_long_for_their_answers(
    ada: Person, admin: dict[str, Any], client: httpx2.AsyncClient, conn: Connection
) -> None:
    """A5: in time: the lower quartiles differ by 5 ms or twice their spread at most."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for n in range(40):
        for banned in (True, False):
            person = Person(client, f"{banned:d}.{n}@example.org", address=f"10.{n}.{banned:d}.1")
            if banned:
                await person.post("signup")
                await conn.execute(
                    "UPDATE account SET banned_at = now() WHERE email = $1", person.email
                )
            otp = await person.ask_code()
            started = time.perf_counter()
            answer = await person.guess(otp)
            times[banned].append(time.perf_counter() - started)
            assert answer.status_code == 401

    quartiles = [statistics.quantiles(times[banned], n=4) for banned in (True, False)]
    spread = min(high - low for low, _, high in quartiles)
    assert abs(quartiles[0][0] - quartiles[1][0]) <= max(0.005, 2 * spread)


async def test_an_unban_lets_them_log_in_again(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    login = await bob.log_in()
    user_id = login["user"]["id"]
    await ban(ada, admin, user_id)

    answers = [await ada.call("POST", f"/admin/user/{user_id}/unban", admin) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 200
        assert (answer.json()["banned_at"], answer.json()["ban_reason"]) == (None, None)
    assert (await bob.refresh(login["refresh_token"])).status_code == 401
    assert (await bob.log_in())["user"]["id"] == user_id
    actions = await conn.fetch("SELECT action FROM audit WHERE subject::text = $1", user_id)
    told = [row["action"] for row in actions]
    assert (told.count("banned"), told.count("unbanned")) == (1, 1)


async def test_a_second_ban_changes_the_reason_alone(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    user_id = (await bob.log_in())["user"]["id"]
    first = (await ban(ada, admin, user_id)).json()

    path = f"/admin/user/{user_id}/ban"
    second = (await ada.call("POST", path, admin, {"reason": "fraud"})).json()

    assert second == first | {"ban_reason": "fraud"}
    assert await conn.fetchval("SELECT count(*) FROM audit WHERE action = 'banned'") == 1


async def test_nobody_bans_themselves_or_who_does_not_exist(
    ada: Person, admin: dict[str, Any]
) -> None:
    own, unknown = [await ban(ada, admin, each) for each in (admin["user"]["id"], str(new_id()))]

    assert (own.status_code, own.json()["code"]) == (409, "own_account")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "user_not_found")
    assert (await ada.me(admin["access_token"])).status_code == 200


async def test_of_two_admins_who_ban_each_other_at_once_one_stays(
    app: FastAPI, ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    other = await employ(app, bob, "admin")

    answers = await asyncio.gather(
        ban(ada, admin, other["user"]["id"]), ban(bob, other, admin["user"]["id"])
    )

    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 403])
    assert await conn.fetchval("SELECT count(*) FROM account WHERE banned_at IS NULL") == 1


async def test_a_login_that_waits_for_its_factor_is_over(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    login = await bob.log_in()
    device = await add_factor(bob, login)
    challenge = await challenge_of(bob)
    await ban(ada, admin, login["user"]["id"])

    answer = await verify(bob, challenge, code=device.code(1))

    assert (answer.status_code, answer.json()["code"]) == (401, "factor_challenge_invalid")


async def test_no_login_or_refresh_that_races_with_the_ban_outlives_it(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    logins = [await bob.log_in() for _ in range(4)]
    otp = await bob.ask_code()
    user_id = logins[0]["user"]["id"]

    await asyncio.gather(
        *(bob.refresh(login["refresh_token"]) for login in logins[:2]),
        bob.guess(otp),
        ban(ada, admin, user_id),
        *(bob.refresh(login["refresh_token"]) for login in logins[2:]),
    )

    alive = "SELECT count(*) FROM session WHERE user_id::text = $1 AND revoked_at IS NULL"
    assert await conn.fetchval(alive, user_id) == 0


async def test_a_login_that_is_about_to_open_its_session_when_the_ban_comes_does_not_outlive_it(
    ada: Person, admin: dict[str, Any], bob: Person, conn: Connection
) -> None:
    user_id = (await bob.log_in())["user"]["id"]
    otp = await bob.ask_code()

    async def waits(count: int) -> None:
        sql = "SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await eventually(lambda: conn.fetchval(sql, count))

    async with conn.transaction():
        await conn.execute("LOCK TABLE session IN SHARE MODE")  # they have been found not banned
        login = asyncio.create_task(bob.guess(otp))
        await waits(1)
        banning = asyncio.create_task(ban(ada, admin, user_id))
        await waits(2)

    assert [(await login).status_code, (await banning).status_code] == [200, 200]
    alive = "SELECT count(*) FROM session WHERE user_id::text = $1 AND revoked_at IS NULL"
    assert await conn.fetchval(alive, user_id) == 0


async def test_a_sign_up_does_not_undo_a_ban(
    ada: Person, admin: dict[str, Any], bob: Person
) -> None:
    await ban(ada, admin, (await bob.log_in())["user"]["id"])

    again = await bob.post("signup", name="Somebody else")

    assert again.status_code == 201
    assert (await bob.guess(await bob.ask_code())).status_code == 401

"""Where a user is logged in, and how that ends."""

import asyncio
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import SessionRevoked
from services.auth.actions import audit
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"


async def alive(ada: Person, *logins: dict[str, Any]) -> list[bool]:
    """Tell which of the logins can still be refreshed."""
    return [(await ada.refresh(login["refresh_token"])).status_code == 200 for login in logins]


async def listed(ada: Person, login: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await ada.call("GET", "/auth/session", login)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def id_of(ada: Person, login: dict[str, Any]) -> str:
    return next(str(each["id"]) for each in await listed(ada, login) if each["current"])


async def test_a_user_sees_where_they_are_logged_in_and_from_what(
    ada: Person, conn: Connection
) -> None:
    await ada.log_in("okhttp/4.12.0")
    login = await ada.log_in(FIREFOX)

    current, other = await listed(ada, login)

    assert set(current) == {
        *("id", "device", "created_at", "last_used_at", "expires_at", "current"),
    }
    assert (current["device"], current["current"]) == ("Firefox on Linux", True)
    assert (other["device"], other["current"]) == ("okhttp", False)
    assert current["last_used_at"] == current["created_at"] > other["created_at"]
    await ada.refresh(login["refresh_token"])
    assert (await listed(ada, login))[0]["last_used_at"] > current["last_used_at"]
    columns = await conn.fetchrow("SELECT * FROM session ORDER BY id LIMIT 1")
    assert "192.0.2.1" not in str(columns)  # where it came from is not kept


async def test_many_logins_come_in_pages_without_those_that_have_ended(ada: Person) -> None:
    logins = [await ada.log_in() for _ in range(4)]
    ids = [await id_of(ada, login) for login in logins]
    await ada.call("POST", "/auth/logout", logins[1])

    first = (await ada.call("GET", "/auth/session?limit=2", logins[3])).json()
    path = f"/auth/session?limit=2&cursor={first['next_cursor']}"
    last = (await ada.call("GET", path, logins[3])).json()

    assert [each["id"] for each in first["data"]] == [ids[3], ids[2]]
    assert first["has_more"] is True
    assert [each["id"] for each in last["data"]] == [ids[0]]
    assert (last["has_more"], last["next_cursor"]) == (False, None)


@pytest.mark.parametrize(
    ("query", "survivors"),
    [
        ("", [True, False, True]),
        ("?scope=local", [True, False, True]),
        ("?scope=others", [False, True, False]),
        ("?scope=global", [False, False, False]),
    ],
)
async def test_a_logout_ends_what_its_scope_says_and_nothing_of_others(
    ada: Person, rabbitmq_url: str, query: str, survivors: list[bool]
) -> None:
    """J10: no token refreshes a session that was logged out."""
    bob = Person(ada.client, "bob@example.org")
    logins = [await ada.log_in() for _ in range(3)]
    others = await bob.log_in()
    ids = {each["id"] for each in await listed(ada, logins[1])}
    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        answer = await ada.call("POST", f"/auth/logout{query}", logins[1])
        async with asyncio.timeout(5):
            events = [orjson.loads(await bodies.get()) for _ in range(survivors.count(False))]

    assert (answer.status_code, answer.content) == (204, b"")
    assert await alive(ada, *logins) == survivors
    assert await alive(bob, others) == [True]
    assert {event["session_id"] for event in events} <= ids
    assert len({event["session_id"] for event in events}) == len(events)
    assert {(event["user_id"], event["reason"]) for event in events} == {
        (logins[0]["user"]["id"], "logout")
    }


async def test_an_unknown_scope_is_refused(ada: Person) -> None:
    login = await ada.log_in()

    answer = await ada.call("POST", "/auth/logout?scope=all", login)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert await alive(ada, login) == [True]


async def test_a_user_ends_one_login_from_another(ada: Person) -> None:
    lost, mine = await ada.log_in(), await ada.log_in()
    lost_id = await id_of(ada, lost)

    answer = await ada.call("DELETE", f"/auth/session/{lost_id}", mine)
    again = await ada.call("DELETE", f"/auth/session/{lost_id}", mine)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (again.status_code, again.json()["code"]) == (404, "session_not_found")
    assert await alive(ada, lost, mine) == [False, True]


async def test_somebody_elses_login_is_as_good_as_none(ada: Person) -> None:
    """Z1: neither is seen nor ended."""
    bob = Person(ada.client, "bob@example.org")
    mine, theirs = await ada.log_in(), await bob.log_in()
    their_id = await id_of(bob, theirs)

    foreign = await ada.call("DELETE", f"/auth/session/{their_id}", mine)
    unknown = await ada.call("DELETE", f"/auth/session/{new_id()}", mine)

    problems = [{**each.json(), "request_id": None} for each in (foreign, unknown)]
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert problems[0] == problems[1]
    assert their_id not in {each["id"] for each in await listed(ada, mine)}
    assert await alive(bob, theirs) == [True]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/session"),
        ("POST", "/auth/logout?scope=others"),
        ("DELETE", f"/auth/session/{new_id()}"),
    ],
)
async def test_an_ended_login_manages_nothing_even_where_its_token_still_passes(
    ada: Person, method: str, path: str
) -> None:
    """J10: auth looks into its own table; the gateway's word may be missing."""
    ended, kept = await ada.log_in(), await ada.log_in()
    await ada.call("POST", "/auth/logout", ended)

    answer = await ada.call(method, path, ended)

    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")
    assert await alive(ada, kept) == [True]


async def test_a_logout_that_rolls_back_tells_nobody(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    login = await ada.log_in()
    await conn.execute("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (action <> 'session_ended')")
    try:
        answer = await ada.call("POST", "/auth/logout", login)
    finally:
        await conn.execute("ALTER TABLE audit DROP CONSTRAINT full_up")

    assert answer.status_code == 500
    assert await conn.fetchval("SELECT count(*) FROM outbox WHERE type LIKE '%revoked%'") == 0
    assert await alive(ada, login) == [True]


async def test_logins_and_logouts_are_audited_by_id_and_nothing_else(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    login = await ada.log_in(FIREFOX)
    session_id = await id_of(ada, login)
    await ada.call("POST", "/auth/logout", login)

    rows = await conn.fetch("SELECT actor, subject, action, detail FROM audit ORDER BY seq")

    user_id = login["user"]["id"]
    assert [(str(r["actor"]), str(r["subject"]), r["action"]) for r in rows] == [
        (user_id, user_id, "login"),
        (user_id, user_id, "session_ended"),
    ]
    assert [orjson.loads(row["detail"]) for row in rows] == [
        {"session_id": session_id, "device": "Firefox on Linux"},
        {"session_ids": [session_id], "reason": "logout"},
    ]
    assert (await audit.verify(app.state.resources.db))[0] == 2

"""API keys: made, traded, rotated, deleted; what becomes of them is announced and audited."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import jwt
import orjson
import pytest
from fastapi import FastAPI

from libs.common import exports
from libs.common.api_keys import make_key
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import SessionRevoked
from services.auth import rules
from services.auth.actions import housekeeping
from services.auth.tests.integration.key_owner import (
    PATH,
    exchange,
    listed,
    made,
    make,
    opens,
    send,
)
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


async def test_a_key_is_shown_once_and_listed_without_what_makes_it_one(ada: Person) -> None:
    login = await ada.log_in()
    expires_at = utc_now() + timedelta(days=90)

    key = await made(ada, login, expires_at=expires_at.isoformat())
    await made(ada, login, name="another")

    another, mine = await listed(ada, login)
    assert mine == {name: value for name, value in key.items() if name != "key"}
    assert (mine["name"], mine["scopes"], mine["prefix"]) == (
        *("my program", ["chat", "read"]),
        key["key"][:11],
    )
    assert datetime.fromisoformat(mine["expires_at"]) == expires_at
    assert another["expires_at"] is mine["last_used_at"] is None


async def test_a_key_is_traded_for_a_token_of_its_user_and_scopes_alone(ada: Person) -> None:
    login = await ada.log_in()
    key = await made(ada, login, scopes=["read"])

    answer = await exchange(ada, key["key"])

    assert (answer.status_code, answer.json()["expires_in"]) == (200, 900)
    token = answer.json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["sid"], claims["scope"]) == (
        *(login["user"]["id"], key["id"]),
        "read",
    )
    assert (await listed(ada, login))[0]["last_used_at"] is not None


async def test_neither_key_nor_its_plain_hash_is_in_the_database(
    ada: Person, conn: Connection
) -> None:
    """P2: only a hash keyed with AUTH_SECRET is."""
    login = await ada.log_in()
    key = (await made(ada, login))["key"]

    row = await conn.fetchrow("SELECT * FROM api_key")

    assert row is not None
    assert len(row["key_hash"]) == 32
    assert key[11:] not in str(dict(row))
    digest = await conn.fetchval("SELECT sha256($1::text::bytea)", key)
    assert row["key_hash"] != digest


async def test_keys_that_are_none_open_nothing(ada: Person) -> None:
    """J7 for keys: truncated, changed, lengthened, made up, and other kinds of secret."""
    login = await ada.log_in()
    key = (await made(ada, login))["key"]
    changed = key[:-1] + ("a" if key[-1] != "a" else "b")
    bad = [key[:-1], changed, key.swapcase(), make_key(), f"{key} ", login["refresh_token"][:100]]

    assert [await opens(ada, each) for each in bad] == ["api_key_invalid"] * len(bad)
    assert [await opens(ada, each) for each in (key + "0" * 100_000, "")] == [
        "validation_failed",
        "validation_failed",
    ]
    assert await opens(ada, key) == "ok"


async def test_a_token_of_a_key_lives_no_longer_than_it(ada: Person, conn: Connection) -> None:
    login = await ada.log_in()
    soon = utc_now() + timedelta(seconds=100)
    key = await made(ada, login, expires_at=soon.isoformat())

    first = (await exchange(ada, key["key"])).json()
    await conn.execute("UPDATE api_key SET expires_at = now() - interval '1 second'")

    assert 90 < first["expires_in"] <= 100
    assert await opens(ada, key["key"]) == "api_key_expired"


async def test_a_deleted_key_opens_nothing_and_its_tokens_are_revoked(
    ada: Person, rabbitmq_url: str
) -> None:
    login = await ada.log_in()
    key, kept = await made(ada, login), await made(ada, login)

    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        answer = await ada.call("DELETE", f"{PATH}/{key['id']}", login)
        again = await ada.call("DELETE", f"{PATH}/{key['id']}", login)
        async with asyncio.timeout(5):
            event = orjson.loads(await bodies.get())

    assert (answer.status_code, again.status_code) == (204, 404)
    assert again.json()["code"] == "api_key_not_found"
    assert [await opens(ada, each["key"]) for each in (key, kept)] == ["api_key_invalid", "ok"]
    assert (event["user_id"], event["session_id"]) == (login["user"]["id"], key["id"])


async def test_somebody_elses_key_is_as_good_as_none(ada: Person) -> None:
    """Z1: neither seen, nor rotated, nor deleted."""
    bob = Person(ada.client, "bob@example.org")
    mine, theirs = await ada.log_in(), await bob.log_in()
    key = await made(bob, theirs)

    answers = [
        await ada.call("DELETE", f"{PATH}/{key['id']}", mine),
        await ada.call("DELETE", f"{PATH}/{new_id()}", mine),
        await send(ada, "POST", f"{PATH}/{key['id']}/rotate", mine),
        await send(ada, "POST", f"{PATH}/{new_id()}/rotate", mine),
    ]

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (404, "api_key_not_found")
    }
    assert await listed(ada, mine) == []
    assert await opens(bob, key["key"]) == "ok"


@pytest.mark.parametrize(
    "given",
    [
        {"scopes": []},
        {"scopes": ["admin"]},
        {"name": ""},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"user_id": "00000000-0000-0000-0000-000000000001"},
        {"role": "admin"},
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(ada: Person, given: dict[str, Any]) -> None:
    """Z3: nor does anybody choose whose it is."""
    login = await ada.log_in()

    answer = await make(ada, login, **given)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert await listed(ada, login) == []


async def test_a_token_of_a_key_changes_nothing_at_auth_itself(ada: Person) -> None:
    login = await ada.log_in()
    key = await made(ada, login)
    token = (await exchange(ada, key["key"])).json()

    answers = [
        await make(ada, token),
        await ada.call("DELETE", f"{PATH}/{key['id']}", token),
        await ada.call("POST", "/auth/logout?scope=global", token),
    ]

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (403, "login_required")
    }
    assert (await ada.refresh(login["refresh_token"])).status_code == 200


async def test_parallel_requests_do_not_exceed_the_number_of_keys(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_API_KEYS", 3)
    login = await ada.log_in()

    answers = await asyncio.gather(*(make(ada, login) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 7
    assert {each.json()["code"] for each in answers if each.status_code == 409} == {
        "too_many_api_keys"
    }


async def test_a_global_logout_leaves_keys_and_an_ended_login_makes_none(ada: Person) -> None:
    login = await ada.log_in()
    key = await made(ada, login)

    await ada.call("POST", "/auth/logout?scope=global", login)
    answer = await make(ada, login)

    assert await opens(ada, key["key"]) == "ok"
    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_a_key_ends_with_the_account_and_its_connections_are_told(
    ada: Person, rabbitmq_url: str
) -> None:
    login = await ada.log_in()
    key = await made(ada, login)

    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        await ada.call("DELETE", "/user/me", login)
        async with asyncio.timeout(5):
            events = [orjson.loads(await bodies.get()) for _ in range(2)]

    assert key["id"] in {event["session_id"] for event in events}
    assert {event["reason"] for event in events} == {"account"}
    assert await opens(ada, key["key"]) == "api_key_invalid"


async def test_a_user_takes_the_list_of_keys_along(ada: Person) -> None:
    login = await ada.log_in()
    key = await made(ada, login)

    exported = (await ada.call("GET", exports.PATH, login)).json()

    assert [each["id"] for each in exported["api_keys"]] == [key["id"]]
    assert key["key"] not in str(exported)


async def test_keys_go_with_their_account_and_long_after_they_expired(
    app: FastAPI, ada: Person, conn: Connection
) -> None:
    bob = Person(ada.client, "bob@example.org")
    mine, theirs = await made(ada, await ada.log_in()), await made(bob, await bob.log_in())
    old = utc_now() - rules.API_KEY_AFTERLIFE
    await conn.execute("UPDATE api_key SET expires_at = $1 WHERE id = $2", old, mine["id"])

    await housekeeping.delete_stale(app.state.resources)
    left = await conn.fetch("SELECT id FROM api_key")
    await conn.execute("DELETE FROM account WHERE email = 'bob@example.org'")

    assert [str(row["id"]) for row in left] == [theirs["id"]]
    assert await opens(bob, theirs["key"]) == "api_key_invalid"


async def test_what_happens_to_keys_is_audited_without_the_keys(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    old = await made(ada, login)
    new = (await send(ada, "POST", f"{PATH}/{old['id']}/rotate", login)).json()
    await ada.call("DELETE", f"{PATH}/{new['id']}", login)

    rows = await conn.fetch(
        "SELECT action, actor, subject, detail FROM audit WHERE action LIKE 'api_key%' ORDER BY seq"
    )

    user_id = login["user"]["id"]
    assert {(str(row["actor"]), str(row["subject"])) for row in rows} == {(user_id, user_id)}
    assert [(row["action"], orjson.loads(row["detail"])) for row in rows] == [
        ("api_key_made", {"key_id": old["id"], "scopes": ["chat", "read"]}),
        (
            "api_key_rotated",
            {"key_id": old["id"], "replaced_by": new["id"], "overlap_s": 86400},
        ),
        ("api_key_deleted", {"key_id": new["id"]}),
    ]

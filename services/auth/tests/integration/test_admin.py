"""What roles open, and to whom they stay shut."""

from typing import Any

import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from services.auth.actions import roles
from services.auth.models import Identifier
from services.auth.tests.integration.authenticator import add_factor
from services.auth.tests.integration.person import Person
from services.auth.tests.integration.staff import employ

pytestmark = pytest.mark.integration
UNKNOWN = str(new_id())


@pytest.fixture
def bob(ada: Person) -> Person:
    return Person(ada.client, "bob@example.org")


def requests(user_id: str) -> list[tuple[str, str, Any]]:
    """Return every request for admins alone, about that user."""
    return [
        ("POST", f"/admin/user/{user_id}/ban", {"reason": "spam"}),
        ("POST", f"/admin/user/{user_id}/ban", {"nonsense": 1}),
        ("POST", f"/admin/user/{user_id}/unban", None),
        ("GET", "/admin/audit", None),
        ("GET", f"/admin/audit?user_id={user_id}&limit=0", None),
    ]


async def refusals(
    person: Person, login: dict[str, Any], asked: list[tuple[str, str, Any]]
) -> list[tuple[int, str, str]]:
    answers = [await person.call(method, path, login, body) for method, path, body in asked]
    told = [(answer.status_code, answer.json()) for answer in answers]
    return [(status, body["code"], body["detail"]) for status, body in told]


async def test_who_has_no_role_gets_one_answer_whatever_they_ask(
    app: FastAPI, ada: Person, bob: Person, conn: Connection
) -> None:
    """Z1, Z3: it tells nothing of who exists; nor does a role help without its factor."""
    weak = await ada.log_in()
    await employ(app, ada, "admin")
    login = await bob.log_in()
    await add_factor(bob, login)
    strong = (await bob.refresh(login["refresh_token"])).json()
    asked = [
        *(each for user_id in (weak["user"]["id"], UNKNOWN, "x") for each in requests(user_id)),
        ("GET", "/admin/user", None),
        ("GET", "/admin/user?email=ada@example.org&nonsense=1", None),
    ]

    for person, caller in ((bob, login), (bob, strong), (ada, weak)):
        told = await refusals(person, caller, asked)

        assert {each[:2] for each in told} == {(403, "role_missing")}
        assert len({detail for *_, detail in told}) == 2  # one for each role
    assert await conn.fetchval("SELECT count(*) FROM account WHERE banned_at IS NOT NULL") == 0


async def test_support_sees_accounts_and_may_do_nothing_to_them(
    app: FastAPI, ada: Person, bob: Person
) -> None:
    support = await employ(app, ada, "support")
    user_id = (await bob.log_in())["user"]["id"]

    seen = await ada.call("GET", "/admin/user", support)
    told = await refusals(ada, support, requests(user_id))

    assert seen.status_code == 200
    assert {each[:2] for each in told} == {(403, "role_missing")}


async def test_accounts_are_found_by_what_they_are_known_by(
    app: FastAPI, ada: Person, bob: Person
) -> None:
    admin = await employ(app, ada, "admin")
    await bob.post("signup", name="Bob")
    await ada.client.post("/auth/signup", json={"phone": "+14155552671"})

    async def found(query: str) -> list[dict[str, Any]]:
        answer = await ada.call("GET", f"/admin/user?{query}", admin)
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    (by_email,) = await found("email=BOB@example.org")
    (by_phone,) = await found("phone=%2B1%20415%20555-2671")
    (by_id,) = await found(f"id={admin['user']['id']}")

    assert set(by_email) == {
        *("id", "phone", "email", "name", "created_at", "verified", "role"),
        *("banned_at", "ban_reason"),
    }
    assert (by_email["name"], by_email["verified"], by_email["role"]) == ("Bob", False, "user")
    assert by_phone["phone"] == "+14155552671"
    assert (by_id["email"], by_id["role"], by_id["banned_at"]) == (ada.email, "admin", None)
    assert await found("email=nobody@example.org") == []
    assert await found(f"id={by_id['id']}&email=bob@example.org") == []
    first = (await ada.call("GET", "/admin/user?limit=2", admin)).json()
    rest = await found(f"limit=2&cursor={first['next_cursor']}")
    assert [each["id"] for each in first["data"]] == [by_phone["id"], by_email["id"]]
    assert (first["has_more"], [each["id"] for each in rest]) == (True, [by_id["id"]])


async def test_a_role_that_was_taken_is_gone_at_once_whatever_the_token_says(
    app: FastAPI, ada: Person, bob: Person
) -> None:
    await employ(app, bob, "admin")
    admin = await employ(app, ada, "admin")
    await roles.grant_role(app.state.resources.db, Identifier("email", ada.email), "user")

    answer = await ada.call("GET", "/admin/audit", admin)

    assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")


async def test_an_ended_login_has_no_role(app: FastAPI, ada: Person) -> None:
    """J10: even where its token still passes."""
    admin = await employ(app, ada, "admin")
    await ada.call("POST", "/auth/logout", admin)

    answer = await ada.call("GET", "/admin/user", admin)

    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_admins_read_the_audit_log_latest_first_and_of_one_user(
    app: FastAPI, ada: Person, bob: Person
) -> None:
    admin = await employ(app, ada, "admin")
    user_id = (await bob.log_in())["user"]["id"]
    await ada.call("POST", f"/admin/user/{user_id}/ban", admin, {"reason": "spam"})

    async def page(query: str) -> dict[str, Any]:
        answer = await ada.call("GET", f"/admin/audit?{query}", admin)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    everything = await page("limit=100")
    first = await page("limit=4")
    rest = await page(f"limit=4&cursor={first['next_cursor']}")
    of_bob = await page(f"user_id={user_id}")

    seqs = [each["seq"] for each in everything["data"]]
    assert seqs == list(range(6, 0, -1))
    assert first["data"] + rest["data"] == everything["data"]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert [each["action"] for each in of_bob["data"]] == ["banned", "session_ended", "login"]
    banned = of_bob["data"][0]
    assert set(banned) == {"seq", "at", "actor", "subject", "action", "detail", "hash"}
    assert (banned["actor"], banned["subject"]) == (admin["user"]["id"], user_id)
    assert "spam" not in str(everything)  # what people type may name people

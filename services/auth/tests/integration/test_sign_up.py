import asyncio
import json

import httpx2
import pytest

from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


async def test_signing_up_again_answers_the_same_and_makes_no_second_account(
    ada: Person, conn: Connection
) -> None:
    first = await ada.post("signup", name="Ada")
    again = await ada.post("signup", name="Ada")

    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.status_code == 201
    assert first.json() == {"status": "code_required", "next": "/auth/send-otp"}
    assert await conn.fetchval("SELECT count(*) FROM account") == 1


async def test_a_stranger_who_was_first_does_not_choose_the_name(ada: Person) -> None:
    await ada.post("signup", name="Pay at http://evil.example")
    await ada.post("signup", name="Ada")

    assert (await ada.guess(await ada.ask_code())).json()["user"]["name"] == "Ada"


async def test_a_stranger_cannot_rename_who_is_verified(ada: Person) -> None:
    await ada.post("signup", name="Ada")
    token = (await ada.guess(await ada.ask_code())).json()["access_token"]

    await ada.post("signup", name="Pay at http://evil.example")

    assert (await ada.me(token)).json()["name"] == "Ada"


async def test_a_known_identifier_waits_for_a_commit_as_a_new_one_does(
    ada: Person, conn: Connection
) -> None:
    """Measured on disks that sync, the medians differ by less than their noise."""
    written_by = "SELECT xmin::text FROM address_count ORDER BY since LIMIT 1"
    await ada.post("signup")
    new = await conn.fetchval(written_by)
    account = await conn.fetchval("SELECT xmin::text FROM account")
    await ada.post("signup")
    known = await conn.fetchval(written_by)

    assert new == account, "one commit for both"
    assert known != new, "the known one commits as well"


async def test_parallel_sign_ups_make_one_account(ada: Person, conn: Connection) -> None:
    """R2: thirty, and none fails."""
    answers = await asyncio.gather(*(ada.post("signup") for _ in range(30)))

    assert {answer.status_code for answer in answers} == {201}
    assert await conn.fetchval("SELECT count(*) FROM account WHERE email = $1", ada.email) == 1


async def test_the_first_right_code_announces_the_account_once(
    ada: Person, rabbitmq_url: str
) -> None:
    bob = Person(ada.client, "bob@example.org")
    async with listening(rabbitmq_url, UserRegistered) as events:
        await Person(ada.client, "never-verified@example.org").post("signup")
        for person in (ada, ada, bob):  # Bob's event marks the end of Ada's
            await person.log_in()
        emails = [json.loads(await asyncio.wait_for(events.get(), 10))["email"] for _ in range(2)]

    assert sorted(emails) == ["ada@example.org", "bob@example.org"]


async def test_no_account_is_verified_when_its_event_cannot_be_stored(
    ada: Person, conn: Connection
) -> None:
    await ada.post("signup")
    code = await ada.ask_code()
    await conn.execute("ALTER TABLE outbox ADD CONSTRAINT full_up CHECK (false)")
    try:
        answer = await ada.guess(code)
    finally:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT full_up")

    assert answer.status_code == 500
    assert await conn.fetchval("SELECT count(*) FROM account WHERE verified_at IS NOT NULL") == 0
    assert (await ada.guess(code)).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/", "one_identifier"),
        ({"phone": "+14155552671", "email": "ada@example.org"}, "/", "one_identifier"),
        ({"phone": "4155552671"}, "/phone", "invalid_phone"),
        ({"email": "ada"}, "/email", "invalid_email"),
        ({"email": "ada@example.org", "name": "a\x00"}, "/name", "value_error"),
        ({"email": "ada@example.org", "admin": True}, "/admin", "extra_forbidden"),
    ],
)
async def test_a_bad_sign_up_is_refused_and_told_where(
    client: httpx2.AsyncClient, body: dict[str, object], pointer: str, code: str
) -> None:
    response = await client.post("/auth/signup", json=body)

    assert response.status_code == 422
    errors = response.json()["errors"]
    assert [(error["pointer"], error["code"]) for error in errors] == [(pointer, code)]

"""Another phone number or e-mail address for an account."""

import asyncio
from typing import Any

import httpx2
import pytest

from libs.common.db import Connection
from libs.common.events import UserChanged
from services.auth.tests.integration.person import Person, listening, wrong

pytestmark = pytest.mark.integration
PATH = "/user/me/identifier"
NEW = {"email": "countess@example.org"}
PHONE = {"phone": "+14155552671"}


class Mover:
    """A logged-in person who wants to be known by something else."""

    def __init__(self, person: Person, login: dict[str, Any]) -> None:
        self._person = person
        self._headers = {
            "Authorization": f"Bearer {login['access_token']}",
            "X-Forwarded-For": person.address,
        }

    async def ask(self, body: dict[str, str]) -> httpx2.Response:
        return await self._person.client.post(PATH, json=body, headers=self._headers)

    async def codes(self, body: dict[str, str]) -> dict[str, str]:
        answer = await self.ask(body)
        assert answer.status_code == 202, answer.text
        sent = answer.json()
        return {"otp": sent["new"]["otp"], "present_otp": sent["present"]["otp"]}

    async def change(self, body: dict[str, str], codes: dict[str, str]) -> httpx2.Response:
        return await self._person.client.put(PATH, json=body | codes, headers=self._headers)


@pytest.fixture
async def login(ada: Person) -> dict[str, Any]:
    return await ada.log_in()


@pytest.fixture
def mover(ada: Person, login: dict[str, Any]) -> Mover:
    return Mover(ada, login)


@pytest.mark.parametrize("new", [NEW, PHONE])
async def test_with_both_codes_the_account_is_known_by_the_new_one_only(
    ada: Person, mover: Mover, login: dict[str, Any], rabbitmq_url: str, new: dict[str, str]
) -> None:
    async with listening(rabbitmq_url, UserChanged) as bodies:
        answer = await mover.change(new, await mover.codes(new))
        async with asyncio.timeout(5):
            event = UserChanged.model_validate_json(await bodies.get())

    assert answer.status_code == 200, answer.text
    known_by = {"phone": None, "email": None} | new
    assert answer.json() == login["user"] | known_by | {"version": 2}
    assert (event.phone, event.email, event.version) == (known_by["phone"], known_by["email"], 2)
    again = await ada.client.post("/auth/send-otp", json=new)
    back = await ada.client.post("/auth/verify-otp", json=new | {"otp": again.json()["otp"]})
    assert back.json()["user"]["id"] == login["user"]["id"]
    assert (await ada.guess(await ada.ask_code())).status_code == 401


@pytest.mark.parametrize("which", ["otp", "present_otp"])
async def test_one_right_code_is_not_enough(
    ada: Person, mover: Mover, login: dict[str, Any], which: str
) -> None:
    codes = await mover.codes(NEW)

    answer = await mover.change(NEW, codes | {which: wrong(codes[which])})

    assert (answer.status_code, answer.json()["code"]) == (401, "otp_invalid")
    assert (await ada.me(login["access_token"])).json() == login["user"]


async def test_the_codes_of_another_are_no_help(ada: Person, mover: Mover) -> None:
    """A4: each code is for the identifier that it was sent to."""
    codes = await mover.codes(NEW)

    answer = await mover.change(NEW, {"otp": codes["present_otp"], "present_otp": codes["otp"]})

    assert answer.status_code == 401
    other = await mover.change(PHONE, codes)
    assert other.status_code == 401


async def test_a_taken_identifier_answers_as_a_free_one_until_its_code_is_right(
    ada: Person, mover: Mover, login: dict[str, Any]
) -> None:
    """A5: nobody learns by it who has an account."""
    bob = Person(ada.client, "bob@example.org")
    theirs = await bob.log_in()
    taken, free = {"email": bob.email}, NEW

    asked = [(await mover.ask(body)).json() for body in (taken, free)]
    codes = [{"otp": each["new"]["otp"], "present_otp": each["present"]["otp"]} for each in asked]
    guessed = [
        await mover.change(body, each | {"otp": wrong(each["otp"])})
        for body, each in zip((taken, free), codes, strict=True)
    ]
    right = await mover.change(taken, codes[0])

    assert set(asked[0]["new"]) == set(asked[1]["new"])
    shapes = [
        {name: value for name, value in answer.json().items() if name != "request_id"}
        for answer in guessed
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0]["code"] == "otp_invalid"
    assert (right.status_code, right.json()["code"]) == (409, "identifier_taken")
    assert (await ada.me(login["access_token"])).json()["email"] == ada.email
    assert (await bob.me(theirs["access_token"])).json()["email"] == bob.email


async def test_a_sign_up_that_nobody_verified_does_not_keep_the_owner_out(
    ada: Person, mover: Mover, conn: Connection
) -> None:
    await ada.client.post("/auth/signup", json=NEW | {"name": "Eve"})

    answer = await mover.change(NEW, await mover.codes(NEW))

    assert answer.status_code == 200, answer.text
    assert await conn.fetchval("SELECT count(*) FROM account") == 1


async def test_two_accounts_that_want_the_same_get_it_once(ada: Person, mover: Mover) -> None:
    bob = Person(ada.client, "bob@example.org", address="198.51.100.1")
    rival = Mover(bob, await bob.log_in())
    mine, theirs = await mover.codes(NEW), await rival.codes(NEW)

    answers = await asyncio.gather(
        *(who.change(NEW, codes) for who, codes in ((mover, mine), (rival, theirs)) * 2)
    )

    assert [answer.status_code for answer in answers].count(200) == 1
    assert {answer.status_code for answer in answers} <= {200, 401, 409, 429}


async def test_guesses_are_counted_with_those_of_logging_in(ada: Person, mover: Mover) -> None:
    """A3: a code stands five guesses, wherever they are made."""
    codes = await mover.codes(NEW)
    for _ in range(3):
        await mover.change(NEW, codes | {"present_otp": wrong(codes["present_otp"])})
    for _ in range(2):
        await ada.guess(wrong(codes["present_otp"]))

    answer = await mover.change(NEW, codes)

    assert (answer.status_code, answer.json()["code"]) == (429, "otp_attempts_exceeded")


async def test_codes_are_limited_as_those_of_logging_in(mover: Mover, ada: Person) -> None:
    """A9: asking here sends no more to anybody than asking there."""
    for _ in range(5):
        assert (await mover.ask(NEW)).status_code == 202
        await ada.client.post("/auth/send-otp", json=NEW)

    answer = await mover.ask(NEW)

    assert (answer.status_code, answer.json()["code"]) == (429, "otp_cooldown")


async def test_the_present_identifier_is_no_change(ada: Person, mover: Mover) -> None:
    answer = await mover.ask({"email": ada.email.upper()})

    assert (answer.status_code, answer.json()["code"]) == (409, "identifier_unchanged")


async def test_two_who_want_each_others_never_wait_in_a_circle(ada: Person, mover: Mover) -> None:
    bob = Person(ada.client, "bob@example.org", address="198.51.100.1")
    rival = Mover(bob, await bob.log_in())
    to_bob, to_ada = {"email": bob.email}, {"email": ada.email}
    mine, theirs = await mover.codes(to_bob), await rival.codes(to_ada)

    answers = await asyncio.gather(mover.change(to_bob, mine), rival.change(to_ada, theirs))

    assert {answer.json()["code"] for answer in answers} <= {"identifier_taken", "otp_invalid"}

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from services.auth.actions import housekeeping
from services.auth.store import codes
from services.auth.tests.integration.person import Person, wrong

pytestmark = pytest.mark.integration


async def test_a_right_code_opens_a_session_and_verifies_the_account(ada: Person) -> None:
    await ada.post("signup", name="Ada")

    answer = await ada.guess(await ada.ask_code())

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    user = body["user"]
    account = {"id", "phone", "email", "plan", "created_at", "verified", "guest", "version"}
    assert set(user) == account | {"name", "locale", "timezone", "preferences"}
    assert (user["email"], user["phone"], user["name"]) == (ada.email, None, "Ada")
    assert user["verified"] is True


async def test_a_phone_number_logs_in_as_well(ada: Person) -> None:
    who = {"phone": "+1 415 555 2671"}
    await ada.client.post("/auth/signup", json=who)
    otp = (await ada.client.post("/auth/send-otp", json=who)).json()["otp"]

    answer = await ada.client.post("/auth/verify-otp", json={**who, "otp": otp})

    assert answer.json()["user"]["phone"] == "+14155552671"


async def test_of_fifty_parallel_right_codes_one_is_accepted(ada: Person, conn: Connection) -> None:
    """R1: in each of three rounds."""
    await ada.post("signup")
    for sessions in (1, 2, 3):
        code = await ada.ask_code()

        answers = await asyncio.gather(*(ada.guess(code) for _ in range(50)))

        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[200] == 1
        assert set(statuses) <= {200, 401, 429}
        assert await conn.fetchval("SELECT count(*) FROM session") == sessions


async def test_of_fifty_parallel_wrong_codes_five_are_compared(ada: Person) -> None:
    """A3: in parallel as well."""
    await ada.post("signup")
    code = await ada.ask_code()

    answers = await asyncio.gather(*(ada.guess(wrong(code)) for _ in range(50)))

    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 45}
    left = [answer.json()["attempts_left"] for answer in answers if answer.status_code == 401]
    assert sorted(left) == [0, 1, 2, 3, 4]


async def test_the_sixth_guess_is_refused_even_if_right_and_no_resend_helps(
    ada: Person, conn: Connection
) -> None:
    """A3: resending does not refill."""
    await ada.post("signup")
    code = await ada.ask_code()
    for _ in range(5):
        await ada.guess(wrong(code))

    for answer in (await ada.guess(code), await ada.post("send-otp")):
        assert answer.status_code == 429
        assert answer.json()["code"] == "otp_attempts_exceeded"
        assert 290 <= int(answer.headers["Retry-After"]) <= 300

    await conn.execute("UPDATE one_time_code SET expires_at = now()")
    assert (await ada.guess(await ada.ask_code())).status_code == 200


async def test_an_identifier_stands_twenty_wrong_codes_a_day_whichever_they_are(
    app: FastAPI, ada: Person, conn: Connection
) -> None:
    await ada.post("signup")
    compared = 0
    while (sent := await ada.post("send-otp")).status_code == 202 and compared < 100:
        code = wrong(sent.json()["otp"])
        answers = await asyncio.gather(*(ada.guess(code) for _ in range(10)))
        compared += Counter(answer.status_code for answer in answers)[401]
        await conn.execute(
            "UPDATE one_time_code SET expires_at = now() - interval '2 hours', sent_at = '{}'"
        )
        await housekeeping.delete_stale(app.state.resources)

    assert compared == 20
    assert (sent.status_code, sent.json()["code"]) == (429, "otp_attempts_exceeded")
    assert 86_000 <= int(sent.headers["Retry-After"]) <= 86_400
    await conn.execute("UPDATE one_time_code SET failures_since = now() - interval '1 day 1 s'")
    assert (await ada.guess(await ada.ask_code())).status_code == 200


async def test_the_twentieth_wrong_code_refuses_the_right_one(
    ada: Person, conn: Connection
) -> None:
    await ada.post("signup")
    code = await ada.ask_code()
    await conn.execute("UPDATE one_time_code SET failures = 19, failures_since = now()")
    await ada.guess(wrong(code))

    answer = await ada.guess(code)

    assert (answer.status_code, answer.json()["code"]) == (429, "otp_attempts_exceeded")
    assert 86_000 <= int(answer.headers["Retry-After"]) <= 86_400


async def test_a_right_code_clears_the_wrong_ones_before_it(ada: Person, conn: Connection) -> None:
    await ada.post("signup")
    code = await ada.ask_code()
    await conn.execute("UPDATE one_time_code SET failures = 19, failures_since = now()")

    assert (await ada.guess(code)).status_code == 200
    assert await conn.fetchval("SELECT failures FROM one_time_code") == 0


async def test_a_code_that_expires_while_it_is_compared_opens_nothing(
    ada: Person, conn: Connection
) -> None:
    await ada.post("signup")
    await ada.ask_code()
    expiry = await conn.fetchval("UPDATE one_time_code SET expires_at = now() RETURNING expires_at")
    code_id = await conn.fetchval("SELECT id FROM one_time_code")

    assert not await codes.use_code(conn, code_id, expiry)
    assert await codes.use_code(conn, code_id, expiry - timedelta(seconds=1))


async def test_the_fifth_guess_may_be_right(ada: Person) -> None:
    await ada.post("signup")
    code = await ada.ask_code()
    for _ in range(4):
        await ada.guess(wrong(code))

    assert (await ada.guess(code)).status_code == 200


async def test_a_used_code_is_invalid(ada: Person) -> None:
    """A2: once."""
    await ada.post("signup")
    code = await ada.ask_code()
    await ada.guess(code)

    answer = await ada.guess(code)

    assert (answer.status_code, answer.json()["code"]) == (401, "otp_invalid")
    assert answer.json()["attempts_left"] == 0


async def test_a_code_is_invalid_after_five_minutes(ada: Person, conn: Connection) -> None:
    """A6: by default."""
    await ada.post("signup")
    code = await ada.ask_code()
    life = "UPDATE one_time_code SET expires_at = expires_at - interval '5 minutes'"
    await conn.execute(life)

    answer = await ada.guess(code)

    assert (answer.status_code, answer.json()["code"]) == (401, "otp_invalid")


async def test_nothing_tells_an_identifier_without_account_from_a_wrong_code(ada: Person) -> None:
    """A5: neither a wrong code nor a right one tells who has an account."""
    bob = Person(ada.client, "bob@example.org")
    await ada.post("signup")

    answers = [
        (await ada.guess(wrong(await ada.ask_code()))).json(),
        (await bob.guess(wrong(await bob.ask_code()))).json(),
        (await bob.guess(await bob.ask_code())).json() | {"attempts_left": 4},
    ]

    for answer in answers:
        del answer["request_id"]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["attempts_left"] == 4


async def test_guesses_without_a_code_tell_nothing_either(ada: Person) -> None:
    bob = Person(ada.client, "bob@example.org")
    await ada.post("signup")

    answers = [(await person.guess("123456")).json() for person in (ada, bob)]

    for answer in answers:
        del answer["request_id"]
    assert answers[0] == answers[1]
    assert answers[0]["attempts_left"] == 0


async def test_a_code_does_not_serve_another_identifier(ada: Person) -> None:
    """A4: A's code does not open B."""
    bob = Person(ada.client, "bob@example.org")
    await ada.post("signup")
    await bob.post("signup")
    code = await ada.ask_code()
    if await bob.ask_code() == code:
        pytest.skip("one in a million: both have the same code")

    assert (await bob.guess(code)).status_code == 401


async def test_a_code_asked_for_before_signing_up_serves_afterwards(ada: Person) -> None:
    code = await ada.ask_code()
    await ada.post("signup")

    assert (await ada.guess(code)).status_code == 200


@pytest.mark.parametrize(
    "otp", ["12345", "1234567", "12345a", "\uff11\uff12\uff13\uff14\uff15\uff16", "123456\n"]
)
async def test_what_is_no_code_is_refused_and_not_counted(ada: Person, otp: str) -> None:
    await ada.post("signup")
    code = await ada.ask_code()

    assert (await ada.guess(otp)).status_code == 422
    assert (await ada.guess(wrong(code))).json()["attempts_left"] == 4

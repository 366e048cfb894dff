"""A code of a second factor works once, and few may be guessed."""

import asyncio
from collections import Counter

import httpx2
import pytest

from libs.common.db import Connection
from services.auth.tests.integration.authenticator import (
    Authenticator,
    add_factor,
    challenge_of,
    verify,
)
from services.auth.tests.integration.person import Person

pytestmark = pytest.mark.integration


@pytest.fixture
async def device(ada: Person) -> Authenticator:
    """Ada's, confirmed."""
    return await add_factor(ada, await ada.log_in())


def told(answers: list[httpx2.Response]) -> Counter[str]:
    """Count the answers by code; what is no refusal counts as `accepted`."""
    return Counter(
        "accepted" if answer.status_code == 200 else answer.json()["code"] for answer in answers
    )


async def sessions(conn: Connection) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM session")
    return count


async def test_the_code_that_confirmed_the_factor_opens_nothing(
    ada: Person, device: Authenticator
) -> None:
    answer = await verify(ada, await challenge_of(ada), code=device.code())

    assert (answer.status_code, answer.json()["code"]) == (401, "factor_invalid")
    assert answer.json()["attempts_left"] == 4


async def test_a_code_works_once_whatever_login_it_is_sent_for(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    code = device.code(1)
    assert (await verify(ada, await challenge_of(ada), code=code)).status_code == 200

    replayed = await verify(ada, await challenge_of(ada), code=code)
    await conn.execute("UPDATE factor SET last_step = last_step + 1")
    older = await verify(ada, await challenge_of(ada), code=code)

    assert told([replayed, older]) == {"factor_invalid": 2}


async def test_of_fifty_parallel_right_codes_at_ten_logins_one_is_accepted(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    challenges = [await challenge_of(ada) for _ in range(9)]
    before, code = await sessions(conn), device.code(1)

    answers = await asyncio.gather(
        *(verify(ada, challenge, code=code) for challenge in challenges for _ in range(6))
    )

    counted = told(answers)
    assert counted["accepted"] == 1
    assert {answer.status_code for answer in answers} == {200, 401, 429}
    assert await sessions(conn) == before + 1


async def test_of_fifty_parallel_recovery_codes_one_is_accepted(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    challenges = [await challenge_of(ada) for _ in range(5)]
    before, code = await sessions(conn), device.recovery_codes[7]

    answers = await asyncio.gather(
        *(verify(ada, each, recovery_code=code) for each in challenges for _ in range(10))
    )

    assert told(answers)["accepted"] == 1
    assert await sessions(conn) == before + 1
    assert await conn.fetchval("SELECT count(*) FROM recovery_code") == 9


async def test_a_recovery_code_works_once_and_however_it_is_typed(
    ada: Person, device: Authenticator
) -> None:
    code = device.recovery_codes[0]

    answers = [
        await verify(ada, await challenge_of(ada), recovery_code=typed)
        for typed in (code.lower().replace("-", " "), code)
    ]

    assert told(answers) == {"accepted": 1, "factor_invalid": 1}


async def test_a_challenge_opens_one_session(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    challenge, before = await challenge_of(ada), await sessions(conn)

    answers = [
        await verify(ada, challenge, code=device.code(1)),
        await verify(ada, challenge, recovery_code=device.recovery_codes[0]),
    ]

    assert told(answers) == {"accepted": 1, "factor_challenge_invalid": 1}
    assert await sessions(conn) == before + 1


async def test_of_fifty_parallel_wrong_codes_at_a_login_five_are_compared(
    ada: Person, device: Authenticator
) -> None:
    challenge, wrong = await challenge_of(ada), device.wrong()

    answers = await asyncio.gather(*(verify(ada, challenge, code=wrong) for _ in range(50)))

    assert told(answers) == {"factor_invalid": 5, "factor_challenge_invalid": 45}
    left = [body["attempts_left"] for body in map(httpx2.Response.json, answers) if len(body) > 6]
    assert sorted(left) == [0, 1, 2, 3, 4]
    right = await verify(ada, challenge, code=device.code(1))
    assert (right.status_code, right.json()["code"]) == (401, "factor_challenge_invalid")


async def test_an_account_stands_twenty_wrong_codes_a_day_at_however_many_logins(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    wrong = device.wrong()
    challenges = [await challenge_of(ada) for _ in range(7)]

    answers = await asyncio.gather(
        *(verify(ada, challenge, code=wrong) for challenge in challenges[:6] for _ in range(5))
    )

    assert told(list(answers)) == {"factor_invalid": 20, "factor_attempts_exceeded": 10}
    right = await verify(ada, challenges[6], code=device.code(1))
    lost = await verify(ada, challenges[6], recovery_code=device.recovery_codes[0])
    for answer in (right, lost):
        assert (answer.status_code, answer.json()["code"]) == (429, "factor_attempts_exceeded")
        assert 86_000 <= int(answer.headers["Retry-After"]) <= 86_400
    await conn.execute("UPDATE factor SET failures_since = now() - interval '1 day 1 s'")
    assert (await verify(ada, challenges[6], code=device.code(1))).status_code == 200


async def test_a_right_code_clears_the_wrong_ones_before_it(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    await conn.execute("UPDATE factor SET failures = 19, failures_since = now()")

    assert (await verify(ada, await challenge_of(ada), code=device.code(1))).status_code == 200
    assert await conn.fetchval("SELECT failures FROM factor") == 0


async def test_a_login_waits_five_minutes_for_its_factor(
    ada: Person, device: Authenticator, conn: Connection
) -> None:
    challenge = await challenge_of(ada)
    life = await conn.fetchval("SELECT expires_at - now() FROM factor_challenge")
    await conn.execute("UPDATE factor_challenge SET expires_at = now()")

    answer = await verify(ada, challenge, code=device.code(1))

    assert 290 <= life.total_seconds() <= 300
    assert (answer.status_code, answer.json()["code"]) == (401, "factor_challenge_invalid")


async def test_a_code_does_not_serve_another_account(ada: Person, device: Authenticator) -> None:
    bob = Person(ada.client, "bob@example.org")
    theirs = await add_factor(bob, await bob.log_in())

    answers = [
        await verify(bob, await challenge_of(bob), code=device.code(1)),
        await verify(bob, await challenge_of(bob), recovery_code=device.recovery_codes[0]),
    ]

    if device.code(1) not in {theirs.code(steps) for steps in (0, 1, 2)}:  # but for one in 10^6
        assert told(answers) == {"factor_invalid": 2}

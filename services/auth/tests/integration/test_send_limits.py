"""What sends may cost: the limits are on the request, whatever becomes of the message."""

import asyncio
from collections import Counter
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.testing import eventually
from services.auth.actions import codes
from services.auth.models import Identifier
from services.auth.settings import Settings
from services.auth.tests.integration.conftest import running
from services.auth.tests.integration.crowd import BATCH, outcomes
from services.auth.tests.integration.mailbox import Mailbox
from services.auth.tests.integration.person import Person
from services.auth.tests.integration.twilio_api import TwilioApi

pytestmark = pytest.mark.integration
COUNTRIES = ("+1415555", "+4930555", "+3314055", "+3491555")


def numbers(how_many: int, *, prefix: str = "+1415555") -> list[str]:
    return [f"{prefix}{2000 + n}" for n in range(how_many)]


async def ask(client: httpx2.AsyncClient, phone: str) -> httpx2.Response:
    return await client.post("/auth/send-otp", json={"phone": phone})


async def ask_all(client: httpx2.AsyncClient, phones: list[str]) -> list[httpx2.Response]:
    """Ask for all of them, 100 at a time."""
    answers: list[httpx2.Response] = []
    for first in range(0, len(phones), 100):
        batch = phones[first : first + 100]
        answers += await asyncio.gather(*(ask(client, phone) for phone in batch))
    return answers


async def queued(conn: Connection) -> int:
    number: int = await conn.fetchval("SELECT count(*) FROM code_delivery")
    return number


async def test_an_address_that_pumps_a_range_of_numbers_gets_twenty_messages_out_of_it(
    real_app: FastAPI, real_client: httpx2.AsyncClient, conn: Connection
) -> None:
    """A9: the breaker counts numbers that are asked for once each, which no other limit sees."""
    total: Counter[str] = Counter()
    for first in range(0, 10_000, BATCH):
        total += await outcomes(
            codes.send_otp(
                real_app.state.resources,
                Identifier("phone", f"+1415555{n:04}"),
                address="192.0.2.1",
                language="en",
            )
            for n in range(first, first + BATCH)
        )

    assert total == {"accepted": 20, "number_range_limit_reached": 9980}
    assert await queued(conn) == 20
    answer = await ask(real_client, "+14155552671")
    assert (answer.status_code, answer.json()["code"]) == (429, "number_range_limit_reached")
    assert 3500 <= int(answer.headers["Retry-After"]) <= 3600
    assert await conn.fetchval("SELECT used FROM send_budget WHERE name = 'all'") == 200
    # What was refused left no trace at its number: the next range is not closed, nor is e-mail.
    assert (await ask(real_client, "+14155562671")).status_code == 202
    assert (await Person(real_client).post("send-otp")).status_code == 202


async def test_codes_that_come_back_keep_a_range_open(
    real_client: httpx2.AsyncClient, twilio: TwilioApi, conn: Connection
) -> None:
    who = {"phone": numbers(1)[0]}
    await real_client.post("/auth/signup", json=who)
    await ask(real_client, who["phone"])
    await eventually(lambda: asyncio.sleep(0, twilio.sent), within_s=10)
    otp = twilio.sent[0]["Body"].split()[0]
    await real_client.post("/auth/verify-otp", json={**who, "otp": otp})

    answers = await ask_all(real_client, numbers(60)[1:])

    assert Counter(answer.status_code for answer in answers)[202] == 20 + 4 - 1


async def test_a_closed_range_opens_by_itself_after_an_hour(
    real_client: httpx2.AsyncClient, conn: Connection
) -> None:
    await ask_all(real_client, numbers(21))
    await conn.execute("UPDATE send_budget SET since = since - interval '59 minutes'")
    late = numbers(30)[21:]
    assert (await ask(real_client, late[0])).status_code == 429
    await conn.execute("UPDATE send_budget SET since = since - interval '1 minute 1 s'")

    answers = await ask_all(real_client, late)

    assert {answer.status_code for answer in answers} == {202}
    assert await conn.fetchval("SELECT used FROM send_budget WHERE name <> 'all'") == 9


async def test_a_range_has_an_end_however_many_codes_come_back(
    real_settings: Settings, conn: Connection
) -> None:
    settings = real_settings.model_copy(update={"range_sends_per_hour": 5})
    async with running(settings) as client:
        answers = await ask_all(client, numbers(12))

    assert Counter(answer.status_code for answer in answers) == {202: 5, 429: 7}


async def test_the_budget_of_an_hour_holds_under_race(
    real_settings: Settings, conn: Connection
) -> None:
    """A9: 19 SMS at 10 units and 5 mails at 1 fit into 195, in whatever order they come."""
    settings = real_settings.model_copy(update={"otp_budget_per_hour": 195})
    phones = [phone for prefix in COUNTRIES for phone in numbers(15, prefix=prefix)]
    async with running(settings) as client:
        answers = await ask_all(client, phones)
        mails = [Person(client, f"ada{n}@example.org").post("send-otp") for n in range(12)]
        answers += await asyncio.gather(*mails)
        spent = await conn.fetchval("SELECT used FROM send_budget WHERE name = 'all'")
        number = await queued(conn)

    statuses = Counter(answer.status_code for answer in answers)
    refused = [answer for answer in answers if answer.status_code == 503]
    assert statuses == {202: 19 + 5, 503: len(phones) + 12 - 19 - 5}
    assert {answer.json()["code"] for answer in refused} == {"send_budget_exhausted"}
    assert all(3500 <= int(answer.headers["Retry-After"]) <= 3600 for answer in refused)
    assert (spent, number) == (195, 24)


async def test_a_message_that_costs_more_than_the_budget_is_refused(
    real_settings: Settings, conn: Connection
) -> None:
    settings = real_settings.model_copy(update={"otp_budget_per_hour": 9})
    async with running(settings) as client:
        assert (await ask(client, numbers(1)[0])).status_code == 503
    assert await conn.fetchval("SELECT count(*) FROM one_time_code") == 0


async def test_real_messages_to_one_person_keep_their_distance(
    real_client: httpx2.AsyncClient, conn: Connection
) -> None:
    """A2: what is sent again is the same code."""
    ada = Person(real_client)
    answers = await asyncio.gather(*(ada.post("send-otp") for _ in range(20)))

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 19
    assert {answer.json()["code"] for answer in refused} == {"otp_cooldown"}
    assert all(25 <= int(answer.headers["Retry-After"]) <= 30 for answer in refused)

    code = await conn.fetchval("SELECT id FROM one_time_code")
    await conn.execute("UPDATE one_time_code SET sent_at[1] = sent_at[1] - interval '31 s'")
    assert (await ada.post("send-otp")).status_code == 202
    assert await conn.fetchval("SELECT id FROM one_time_code") == code
    assert await queued(conn) == 2


async def test_only_numbers_of_the_named_countries_get_codes(
    settings: Settings, conn: Connection
) -> None:
    settings = settings.model_copy(update={"otp_countries": "US, DE"})
    async with running(settings) as client:
        answers = [
            await client.post(f"/auth/{path}", json={"phone": phone})
            for path in ("signup", "send-otp")
            for phone in ("+14155552671", "+4930555123", "+33140552671")
        ]

    assert [answer.status_code for answer in answers] == [201, 201, 422, 202, 202, 422]
    assert answers[-1].json()["code"] == "country_not_allowed"


@pytest.mark.parametrize(
    ("sender", "refused"), [("smtp", {"phone": "+14155552671"}), ("twilio", {"email": "a@b.org"})]
)
async def test_a_channel_without_a_sender_says_so(
    real_settings: Settings, conn: Connection, sender: str, refused: dict[str, str]
) -> None:
    settings = real_settings.model_copy(update={"otp_sender": sender})
    async with running(settings) as client:
        for path in ("signup", "send-otp"):
            answer = await client.post(f"/auth/{path}", json=refused)
            assert (answer.status_code, answer.json()["code"]) == (422, "channel_unavailable")


async def test_a_test_number_has_its_code_no_message_and_no_limit_on_sends(
    real_settings: Settings, twilio: TwilioApi, conn: Connection
) -> None:
    changes = {
        "otp_test_numbers": SecretStr("+14155552671=424242"),
        "otp_test_numbers_until": utc_now().date() + timedelta(days=1),
        "address_sends_per_hour": 1,
        "otp_budget_per_hour": 1,
    }
    who = {"phone": "+14155552671"}
    async with running(real_settings.model_copy(update=changes)) as client:
        await client.post("/auth/signup", json=who)
        answers = [await ask(client, who["phone"]) for _ in range(30)]
        guesses = [
            await client.post("/auth/verify-otp", json={**who, "otp": otp})
            for otp in ("000000", "424242", "424242")
        ]

    assert {answer.status_code for answer in answers} == {202}
    assert "otp" not in answers[0].json()
    assert [guess.status_code for guess in guesses] == [401, 200, 401]
    assert await queued(conn) == 0


async def test_guesses_at_a_test_number_are_counted_as_any(
    real_settings: Settings, conn: Connection
) -> None:
    numbers = SecretStr("+14155552671=424242")
    who = {"phone": "+14155552671"}
    async with running(real_settings.model_copy(update={"otp_test_numbers": numbers})) as client:
        await client.post("/auth/signup", json=who)
        await ask(client, who["phone"])
        guesses = [
            await client.post("/auth/verify-otp", json={**who, "otp": otp})
            for otp in ["000000"] * 5 + ["424242"]
        ]
        again = await ask(client, who["phone"])

    assert [guess.status_code for guess in guesses] == [401] * 5 + [429]
    assert again.status_code == 429


async def test_a_test_number_is_an_ordinary_one_after_its_last_day(
    real_settings: Settings, mailbox: Mailbox, conn: Connection
) -> None:
    changes = {
        "otp_test_numbers": SecretStr("+14155552671=424242"),
        "otp_test_numbers_until": utc_now().date() - timedelta(days=1),
    }
    who = {"phone": "+14155552671"}
    async with running(real_settings.model_copy(update=changes)) as client:
        await client.post("/auth/signup", json=who)
        await ask(client, who["phone"])
        guess = await client.post("/auth/verify-otp", json={**who, "otp": "424242"})

    assert guess.status_code == 401
    assert await queued(conn) == 1


async def test_the_mock_costs_nothing_and_is_not_counted(
    client: httpx2.AsyncClient, conn: Connection
) -> None:
    answers = await ask_all(client, numbers(40))

    assert {answer.status_code for answer in answers} == {202}
    assert await conn.fetchval("SELECT count(*) FROM send_budget") == 0
    assert await queued(conn) == 0

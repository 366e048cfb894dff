import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from services.auth.tests.integration.person import Person, wrong

pytestmark = pytest.mark.integration
LIMIT = 7


@pytest.fixture(autouse=True)
def _low_limits(app: FastAPI) -> Iterator[None]:
    res = app.state.resources
    limits = ("address_signups_per_hour", "address_sends_per_hour", "address_failures_per_hour")
    settings = res.settings.model_copy(update=dict.fromkeys(limits, LIMIT))
    app.state.resources = replace(res, settings=settings)
    yield
    app.state.resources = res


def people(client: httpx2.AsyncClient, number: int) -> list[Person]:
    """Return people with an address each, all in one network."""
    return [
        Person(client, f"person{n}@example.org", address=f"198.51.100.{n}") for n in range(number)
    ]


@pytest.mark.parametrize("path", ["signup", "send-otp"])
async def test_a_network_may_ask_so_often_however_much_in_parallel(
    client: httpx2.AsyncClient, conn: Connection, path: str
) -> None:
    answers = await asyncio.gather(*(each.post(path) for each in people(client, 30)))

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(answers) - len(refused) == LIMIT
    assert {answer.json()["code"] for answer in refused} == {"address_limit_reached"}
    assert all(3590 <= int(answer.headers["Retry-After"]) <= 3600 for answer in refused)
    table = "account" if path == "signup" else "one_time_code"
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == LIMIT


async def test_a_network_may_guess_so_often_at_however_many_accounts(
    client: httpx2.AsyncClient, conn: Connection
) -> None:
    victims = people(client, 20)
    codes = [
        await Person(client, each.email, address=f"2001:db8:{n}::1").ask_code()
        for n, each in enumerate(victims)
    ]

    pairs = zip(victims, codes, strict=True)
    answers = await asyncio.gather(*(each.guess(wrong(code)) for each, code in pairs))

    assert Counter(answer.status_code for answer in answers) == {401: LIMIT, 429: 20 - LIMIT}
    # What was refused cost its victim nothing.
    assert await conn.fetchval("SELECT sum(attempts) FROM one_time_code") == LIMIT
    elsewhere = Person(client, victims[0].email, address="203.0.113.9")
    assert (await elsewhere.guess(wrong(codes[0]))).status_code == 401


async def test_right_codes_do_not_count_against_a_network(
    client: httpx2.AsyncClient, conn: Connection
) -> None:
    for n, each in enumerate(people(client, LIMIT)):
        await each.log_in()
        await each.guess("000000") if n == 0 else None  # the code is used: one failure
    assert await conn.fetchval("SELECT array_agg(count ORDER BY count) FROM address_count") == [
        1,
        LIMIT,
        LIMIT,
    ]


async def test_the_count_starts_over_after_an_hour(
    client: httpx2.AsyncClient, conn: Connection
) -> None:
    statuses = []
    for each in people(client, LIMIT + 2):
        statuses.append((await each.post("signup")).status_code)
        if statuses[-1] == 429:
            await conn.execute("UPDATE address_count SET since = since - interval '1 hour'")

    assert statuses == [201] * LIMIT + [429, 201]


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ([("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "198.51.100.2")], 1),
        (
            [("x-forwarded-for", "203.0.113.1, 198.51.100.1"), ("x-forwarded-for", "198.51.100.2")],
            1,
        ),
        ([("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "198.51.101.1")], 2),
        ([("x-real-ip", "198.51.100.1"), ("x-real-ip", "198.51.101.1")], 1),
    ],
)
async def test_only_the_address_that_the_gateway_puts_last_counts(
    client: httpx2.AsyncClient, conn: Connection, headers: list[tuple[str, str]], counts: int
) -> None:
    for header in headers:
        await client.post("/auth/send-otp", json={"email": "a@example.org"}, headers=[header])

    assert await conn.fetchval("SELECT count(*) FROM address_count") == counts


SPOOFED = [
    ("x-forwarded-for", "203.0.113.{}"),
    ("x-forwarded-for", "203.0.{}.1, 198.51.{}.7"),
    ("forwarded", "for=203.0.{}.1"),
    ("x-real-ip", "203.0.{}.1"),
    ("true-client-ip", "203.0.{}.1"),
    ("cf-connecting-ip", "203.0.{}.1"),
    ("x-client-ip", "203.0.{}.1"),
    ("x-cluster-client-ip", "203.0.{}.1"),
    ("x-originating-ip", "203.0.{}.1"),
    ("x-remote-addr", "203.0.{}.1"),
]


@pytest.mark.parametrize("path", ["signup", "send-otp", "verify-otp"])
async def test_no_header_that_a_client_makes_up_lifts_the_limit_of_its_network(
    client: httpx2.AsyncClient, path: str
) -> None:
    """G4: what the gateway puts behind them counts; ten kinds let nothing through."""
    statuses = []
    for n in range(LIMIT + len(SPOOFED)):
        name, value = SPOOFED[n % len(SPOOFED)]
        headers = [(name, value.replace("{}", str(n))), ("x-forwarded-for", "198.51.100.7")]
        body = {"email": f"person{n}@example.org"} | (
            {"otp": "000000"} if path == "verify-otp" else {}
        )
        statuses.append(
            (await client.post(f"/auth/{path}", json=body, headers=headers)).status_code
        )

    assert 429 not in statuses[:LIMIT]
    assert statuses[LIMIT:] == [429] * len(SPOOFED)


async def test_no_address_is_stored_in_clear(client: httpx2.AsyncClient, conn: Connection) -> None:
    await Person(client, address="198.51.100.77").post("signup")

    stored = await conn.fetchval("SELECT row_to_json(address_count)::text FROM address_count")
    assert "198.51.100" not in stored
    assert b"198.51.100".hex() not in stored

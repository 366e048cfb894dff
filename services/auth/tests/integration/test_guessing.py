"""Ten thousand attackers, each from a network of their own, so that no limit of networks helps."""

from collections import Counter

import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from services.auth.actions import codes
from services.auth.models import Identifier
from services.auth.resources import Resources
from services.auth.tests.integration.crowd import BATCH, outcomes
from services.auth.tests.integration.person import EMAIL, Person, wrong

pytestmark = pytest.mark.integration
ADA = Identifier("email", EMAIL)
ATTACKERS = 10_000


def address(n: int) -> str:
    """Return an address in the n-th /24."""
    return f"10.{n // 256}.{n % 256}.1"


async def guess_all(res: Resources, otp: str, attackers: range) -> Counter[str]:
    """Let each of `attackers` guess once, `BATCH` at a time."""
    total: Counter[str] = Counter()
    for first in range(attackers.start, attackers.stop, BATCH):
        total += await outcomes(
            codes.verify_otp(res, ADA, otp=otp, address=address(n), device=None)
            for n in range(first, min(first + BATCH, attackers.stop))
        )
    return total


async def test_of_ten_thousand_guesses_from_everywhere_five_count_per_code_and_twenty_a_day(
    app: FastAPI, ada: Person, conn: Connection
) -> None:
    """A3, A9: guesses at Ada end none of her sessions and cost Bob nothing."""
    res: Resources = app.state.resources
    login = await ada.log_in()
    compared, rounds = [], 10
    for n in range(rounds):
        sent = await ada.post("send-otp")
        otp = wrong(sent.json()["otp"]) if sent.status_code == 202 else "000000"
        guesses = range(n * ATTACKERS // rounds, (n + 1) * ATTACKERS // rounds)
        total = await guess_all(res, otp, guesses)
        assert set(total) <= {"otp_invalid", "otp_attempts_exceeded"}
        assert total.total() == ATTACKERS // rounds
        attempts = await conn.fetchval("SELECT attempts FROM one_time_code")
        compared.append((sent.status_code, attempts))
        # As good as a new code, also where none would be sent; the day is the same.
        await conn.execute("UPDATE one_time_code SET attempts = 0, sent_at = '{}'")

    assert compared == [(202, 5)] * 4 + [(429, 0)] * 6
    assert await conn.fetchval("SELECT failures FROM one_time_code") == 20
    bob = Person(ada.client, "bob@example.org")
    assert (await bob.log_in())["access_token"]
    assert (await ada.refresh(login["refresh_token"])).status_code == 200


async def test_of_ten_thousand_networks_ten_get_a_message_sent_to_one_person(
    app: FastAPI, conn: Connection
) -> None:
    """A9: sends are counted by whom they reach, whatever address asks for them."""
    res: Resources = app.state.resources
    total: Counter[str] = Counter()
    for first in range(0, ATTACKERS, BATCH):
        total += await outcomes(
            codes.send_otp(res, ADA, address=address(n), language="en")
            for n in range(first, first + BATCH)
        )

    assert total == {"accepted": 10, "otp_cooldown": ATTACKERS - 10}
    assert await conn.fetchval("SELECT cardinality(sent_at) FROM one_time_code") == 10

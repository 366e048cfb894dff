import asyncio
import time
from collections import Counter
from datetime import timedelta

import httpx2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from libs.common.clock import utc_now
from libs.common.db import Connection, open_pool
from libs.common.testing import eventually
from services.auth.actions import sends
from services.auth.courier import Courier
from services.auth.models import Identifier
from services.auth.settings import Settings
from services.auth.smtp import SmtpSender
from services.auth.store import deliveries
from services.auth.tests.integration.conftest import running
from services.auth.tests.integration.mailbox import Mailbox, open_mailbox
from services.auth.tests.integration.person import SECRET, Person
from services.auth.tests.integration.twilio_api import TwilioApi

pytestmark = pytest.mark.integration
STATE = "SELECT status, provider, provider_id, error, sealed FROM code_delivery"


async def state(conn: Connection) -> dict[str, str | None]:
    """Return the only delivery."""
    (row,) = await conn.fetch(STATE)
    return dict(row)


async def settled(conn: Connection) -> dict[str, str | None]:
    """Return the only delivery once it is sent or given up."""

    async def look() -> dict[str, str | None]:
        row = await state(conn)
        return {} if row["status"] == "queued" else row

    return await eventually(look, within_s=15)


def courier(pool: object, *mailboxes: Mailbox) -> Courier:
    senders = [SmtpSender(box.url, sender="codes@example.org") for box in mailboxes]
    return Courier(pool, senders, secret=SECRET)  # type: ignore[arg-type]


async def queue(conn: Connection, carrier: Courier, number: int = 1, *, life_s: int = 300) -> None:
    """Store that many messages."""
    now = utc_now()
    for n in range(number):
        to = Identifier("email", f"ada{n}@example.net")
        message = sends.compose(
            to, "012345", "en", expires_at=now + timedelta(seconds=life_s), now=now
        )
        await carrier.enqueue(conn, message, now=now)


@pytest.mark.parametrize(
    ("language", "word"), [("de-DE,de;q=0.9", "gilt"), ("fr", "valable"), ("ja", "works")]
)
async def test_a_code_travels_by_mail_in_the_readers_language_and_opens_a_session(
    real_client: httpx2.AsyncClient, mailbox: Mailbox, conn: Connection, language: str, word: str
) -> None:
    """A8: the answer does not hold the code."""
    ada = Person(real_client)
    await ada.post("signup")

    answer = await real_client.post(
        "/auth/send-otp", json={"email": ada.email}, headers={"Accept-Language": language}
    )

    assert answer.status_code == 202
    assert answer.json() == {"channel": "email", "expires_in": 300, "resend_in": 30}
    sent = await settled(conn)
    (mail,) = mailbox.mails
    assert mail["To"] == ada.email
    assert word in mail.get_content()
    code = mail["Subject"].split()[0]
    assert (await ada.guess(code)).status_code == 200
    assert sent == {
        "status": "sent",
        "provider": "smtp:127.0.0.1",
        "provider_id": mail["Message-ID"],
        "error": None,
        "sealed": None,
    }


async def test_a_code_travels_by_sms(
    real_client: httpx2.AsyncClient, twilio: TwilioApi, conn: Connection
) -> None:
    who = {"phone": "+1 415 555 2671"}
    await real_client.post("/auth/signup", json=who)
    answer = await real_client.post("/auth/send-otp", json=who)
    sent = await settled(conn)

    assert answer.json()["channel"] == "sms"
    (form,) = twilio.sent
    code = form["Body"].split()[0]
    verified = await real_client.post("/auth/verify-otp", json={**who, "otp": code})
    assert verified.status_code == 200
    assert (sent["provider"], sent["provider_id"]) == ("twilio:+15005550006", f"SM{1:032}")


async def test_nobody_waits_for_a_provider(
    real_client: httpx2.AsyncClient, mailbox: Mailbox
) -> None:
    mailbox.gate.clear()
    ada = Person(real_client)
    started = time.monotonic()

    answers = await asyncio.gather(*(ada.post(path) for path in ("send-otp", "signup")))

    assert [answer.status_code for answer in answers] == [202, 201]
    assert time.monotonic() - started < 3  # the sender would have been given 10
    await eventually(lambda: asyncio.sleep(0, mailbox.arrived), within_s=10)
    assert mailbox.mails == []


async def test_while_it_waits_a_message_shows_neither_code_nor_person(
    real_client: httpx2.AsyncClient, mailbox: Mailbox, conn: Connection
) -> None:
    """A7: the queue is sealed, and emptied by the send."""
    mailbox.gate.clear()
    await Person(real_client).post("send-otp")
    await eventually(lambda: asyncio.sleep(0, mailbox.arrived), within_s=10)
    sealed = await conn.fetchval("SELECT sealed FROM code_delivery")

    mailbox.gate.set()
    await settled(conn)
    code = mailbox.mails[0]["Subject"].split()[0]
    assert len(sealed) > 100
    for part in (code, "ada", "example"):
        assert part.encode() not in sealed


async def test_what_one_sender_refuses_the_next_one_takes_and_no_log_names_anybody(
    real_settings: Settings, mailbox: Mailbox, conn: Connection
) -> None:
    """P1: a refusal quotes the address; only its code is kept."""
    mailbox.rcpt = "550 no such user ada@example.org"
    async with open_mailbox() as second:
        urls = SecretStr(f"{mailbox.url},{second.url}")
        settings = real_settings.model_copy(update={"smtp_url": urls})
        with capture_logs() as logs:
            async with running(settings) as client:
                await Person(client).post("send-otp")
                sent = await settled(conn)

    assert (sent["status"], mailbox.mails) == ("sent", [])
    assert [mail["To"] for mail in second.mails] == ["ada@example.org"]
    refusals = [line for line in logs if line["event"] == "code_not_sent"]
    assert [(line["provider"], line["error"]) for line in refusals] == [("smtp:127.0.0.1", "550")]
    assert "ada" not in str(logs)
    assert second.mails[0]["Subject"].split()[0] not in str(logs)


async def test_what_twilio_cannot_connect_from_one_number_goes_out_from_the_next(
    real_settings: Settings, twilio: TwilioApi, conn: Connection
) -> None:
    twilio.refusals["+15005550006"] = 21612
    settings = real_settings.model_copy(update={"twilio_from": "+15005550006, MG01"})
    with capture_logs() as logs:
        async with running(settings) as client:
            await client.post("/auth/send-otp", json={"phone": "+14155552671"})
            sent = await settled(conn)

    assert (sent["status"], sent["provider"]) == ("sent", "twilio:MG01")
    assert "4155552671" not in str(logs)


async def test_what_nobody_will_ever_take_is_given_up(
    real_client: httpx2.AsyncClient, mailbox: Mailbox, conn: Connection
) -> None:
    mailbox.rcpt = "550 no"
    await Person(real_client).post("send-otp")

    assert await settled(conn) == {
        "status": "failed",
        "provider": "smtp:127.0.0.1",
        "provider_id": None,
        "error": "550",
        "sealed": None,
    }


async def test_what_is_refused_for_the_moment_is_tried_again(
    real_client: httpx2.AsyncClient, mailbox: Mailbox, conn: Connection
) -> None:
    mailbox.rcpt = "450 busy"
    await Person(real_client).post("send-otp")

    async def refused() -> bool:
        return bool(await conn.fetchval("SELECT error = '450' FROM code_delivery"))

    await eventually(refused, within_s=10)
    assert (await state(conn))["status"] == "queued"
    mailbox.rcpt = "250 OK"

    assert (await settled(conn))["status"] == "sent"
    assert len(mailbox.mails) == 1


async def test_a_message_is_given_up_when_its_code_has_expired(
    conn: Connection, settings: Settings, mailbox: Mailbox
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        carrier = courier(pool, mailbox)
        await queue(conn, carrier, life_s=0)
        now = utc_now()

        assert await deliveries.claim_due(conn, now=now, until=now, limit=9) == []
        assert await carrier.send_due() == 0

    row = await state(conn)
    assert (row["status"], row["error"], row["sealed"]) == ("failed", "expired", None)
    assert mailbox.mails == []


async def test_what_a_crashed_courier_had_claimed_another_one_sends(
    conn: Connection, settings: Settings, mailbox: Mailbox
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        carrier = courier(pool, mailbox)
        await queue(conn, carrier)
        now = utc_now()
        lease = timedelta(seconds=2)
        (claimed,) = await deliveries.claim_due(conn, now=now, until=now + lease, limit=9)

        assert await carrier.send_due() == 0  # it may still be at it
        await eventually(carrier.send_due, within_s=10)

    assert claimed.attempts == 1
    assert len(mailbox.mails) == 1
    assert utc_now() - now >= lease


async def test_couriers_side_by_side_send_each_message_once(
    conn: Connection, settings: Settings, mailbox: Mailbox
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        carriers = [courier(pool, mailbox) for _ in range(4)]
        await queue(conn, carriers[0], 60)

        await asyncio.gather(*(carrier.send_due() for carrier in carriers for _ in range(2)))

    assert Counter(mail["To"] for mail in mailbox.mails) == Counter(
        f"ada{n}@example.net" for n in range(60)
    )


async def test_what_another_secret_sealed_is_given_up(
    conn: Connection, settings: Settings, mailbox: Mailbox
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        await queue(conn, Courier(pool, [], secret="another secret of tests"))

        await courier(pool, mailbox).send_due()

    assert (await state(conn))["error"] == "unreadable"
    assert mailbox.mails == []

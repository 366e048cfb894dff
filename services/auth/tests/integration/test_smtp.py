import asyncio
from datetime import timedelta
from urllib.parse import quote

import pytest

from libs.common.clock import new_id, utc_now
from libs.common.testing import eventually
from services.auth.models import Identifier, OtpMessage
from services.auth.senders import SendError
from services.auth.smtp import SmtpSender
from services.auth.tests.integration.mailbox import PASSWORD, USER, Mailbox, open_mailbox

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # on loopback
]
SENDER = "Thoughtflow <codes@example.org>"


def message() -> OtpMessage:
    expires_at = utc_now() + timedelta(seconds=300)
    to = Identifier("email", "ada@example.net")
    return OtpMessage(new_id(), to, "012345 est votre code", "Voilà : 012345", expires_at)


async def test_a_mail_arrives_as_it_was_written(mailbox: Mailbox) -> None:
    sent = message()

    provider_id = await SmtpSender(mailbox.url, sender=SENDER).send(sent)

    (mail,) = mailbox.mails
    assert (mail["From"], mail["To"]) == (SENDER, "ada@example.net")
    assert (mail["Subject"], mail.get_content().strip()) == (sent.subject, sent.text)
    assert provider_id == mail["Message-ID"] == f"<{sent.id}@example.org>"


async def test_it_logs_in_with_what_its_url_says() -> None:
    async with open_mailbox(login=True) as mailbox:
        with_login = mailbox.url.replace("//", f"//{USER}:{quote(PASSWORD)}@")
        with_wrong = mailbox.url.replace("//", f"//{USER}:wrong@")

        await SmtpSender(with_login, sender=SENDER).send(message())
        with pytest.raises(SendError) as caught:
            await SmtpSender(with_wrong, sender=SENDER).send(message())

    assert len(mailbox.mails) == 1
    assert (caught.value.error, caught.value.permanent) == ("535", False)


@pytest.mark.parametrize(
    ("replies", "error", "permanent"),
    [
        ({"rcpt": "550 no ada@example.net here"}, "550", True),
        ({"rcpt": "450 ada@example.net is busy"}, "450", False),
        ({"data": "554 looks like spam"}, "554", True),
        ({"data": "451 try later"}, "451", False),
    ],
)
async def test_a_refusal_is_told_by_its_code_alone(
    mailbox: Mailbox, replies: dict[str, str], error: str, permanent: bool
) -> None:
    for name, reply in replies.items():
        setattr(mailbox, name, reply)

    with pytest.raises(SendError) as caught:
        await SmtpSender(mailbox.url, sender=SENDER).send(message())

    assert (caught.value.error, caught.value.permanent) == (error, permanent)
    assert str(caught.value) == error


async def test_a_server_that_is_away_may_come_back() -> None:
    with pytest.raises(SendError) as caught:
        await SmtpSender("smtp://127.0.0.1:1", sender=SENDER).send(message())

    assert (caught.value.error, caught.value.permanent) == ("SMTPConnectError", False)


async def test_a_send_to_a_server_that_hangs_ends_at_once_when_it_is_cancelled(
    mailbox: Mailbox,
) -> None:
    mailbox.gate.clear()
    send = asyncio.create_task(SmtpSender(mailbox.url, sender=SENDER).send(message()))
    await eventually(lambda: asyncio.sleep(0, mailbox.arrived))

    send.cancel()
    ended, _ = await asyncio.wait([send], timeout=3)

    assert ended == {send}


async def test_nothing_leaves_the_machine_in_clear(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server offers no TLS; on loopback that is fine, and the guard is told it is not there."""
    monkeypatch.setattr("services.auth.smtp._is_loopback", lambda _: False)

    with pytest.raises(SendError):
        await SmtpSender(mailbox.url, sender=SENDER).send(message())

    assert mailbox.arrived == 0

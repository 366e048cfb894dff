import httpx2
import pytest

from libs.common.testing import counted, eventually
from services.auth.tests.integration.mailbox import Mailbox
from services.auth.tests.integration.person import Person, wrong

pytestmark = pytest.mark.integration
SENT, VERIFIED = "thoughtflow_otp_sent_total", "thoughtflow_otp_verified_total"
DELIVERED = "thoughtflow_otp_deliveries_total"


async def test_codes_are_counted_when_they_are_sent_and_when_they_open_a_session(
    ada: Person,
) -> None:
    await ada.post("signup")
    before = counted(SENT, channel="email"), counted(VERIFIED, channel="email")

    code = await ada.ask_code()
    await ada.guess(wrong(code))
    await ada.guess(code)
    await ada.guess(code)

    after = counted(SENT, channel="email"), counted(VERIFIED, channel="email")
    assert after == (before[0] + 1, before[1] + 1)


async def test_what_a_provider_took_is_counted(
    real_client: httpx2.AsyncClient, mailbox: Mailbox
) -> None:
    ada, before = Person(real_client), counted(DELIVERED, provider="smtp", outcome="sent")
    await ada.post("signup")

    await ada.post("send-otp")

    async def is_counted() -> bool:
        return counted(DELIVERED, provider="smtp", outcome="sent") == before + 1

    await eventually(is_counted)

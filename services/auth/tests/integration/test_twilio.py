from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest

from libs.common.clock import new_id, utc_now
from services.auth.models import Identifier, OtpMessage
from services.auth.senders import SendError
from services.auth.tests.integration.twilio_api import ACCOUNT, TOKEN, TwilioApi
from services.auth.twilio import TwilioSender

pytestmark = pytest.mark.integration
FROM = "+15005550006"


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=0.5) as http:
        yield http


def message(phone: str = "+14155552671") -> OtpMessage:
    expires_at = utc_now() + timedelta(seconds=300)
    return OtpMessage(new_id(), Identifier("phone", phone), "", "código 012345 & más", expires_at)


def sender(
    http: httpx2.AsyncClient, base: str, *, token: str = TOKEN, sender: str = FROM
) -> TwilioSender:
    return TwilioSender(http, base=base, account_sid=ACCOUNT, auth_token=token, sender=sender)


async def test_a_message_is_created_and_lasts_as_long_as_its_code(
    twilio: TwilioApi, http: httpx2.AsyncClient
) -> None:
    sid = await sender(http, twilio.url).send(message())

    (form,) = twilio.sent
    assert form | {"ValidityPeriod": ""} == {
        "From": FROM,
        "To": "+14155552671",
        "Body": "código 012345 & más",
        "ValidityPeriod": "",
    }
    assert 295 <= int(form["ValidityPeriod"]) <= 300
    assert sid == f"SM{1:032}"


async def test_a_messaging_service_sends_as_well(
    twilio: TwilioApi, http: httpx2.AsyncClient
) -> None:
    await sender(http, twilio.url, sender="MG01").send(message())

    assert twilio.sent[0]["MessagingServiceSid"] == "MG01"
    assert "From" not in twilio.sent[0]


@pytest.mark.parametrize(
    ("code", "permanent"),
    [(21211, True), (21408, True), (21610, True), (21612, True), (20429, False), (20500, False)],
)
async def test_an_error_is_told_by_its_code_alone(
    twilio: TwilioApi, http: httpx2.AsyncClient, code: int, permanent: bool
) -> None:
    twilio.refusals[FROM] = code

    with pytest.raises(SendError) as caught:
        await sender(http, twilio.url).send(message())

    assert (caught.value.error, caught.value.permanent) == (str(code), permanent)
    assert str(caught.value) == str(code)


async def test_a_wrong_token_may_be_mended(twilio: TwilioApi, http: httpx2.AsyncClient) -> None:
    with pytest.raises(SendError) as caught:
        await sender(http, twilio.url, token="another").send(message())

    assert (caught.value.error, caught.value.permanent) == ("20003", False)


async def test_no_answer_and_no_server_are_errors_as_well(
    twilio: TwilioApi, http: httpx2.AsyncClient
) -> None:
    twilio.gate.clear()
    errors = []
    for base in (twilio.url, "http://127.0.0.1:1"):
        with pytest.raises(SendError) as caught:
            await sender(http, base).send(message())
        errors.append((caught.value.error, caught.value.permanent))

    assert errors == [("ReadTimeout", False), ("ConnectError", False)]

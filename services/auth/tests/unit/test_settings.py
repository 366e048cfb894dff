from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.auth.settings import Settings

SECRET = "a long secret of tests 0123456789"
GOOD: dict[str, Any] = {
    "environment": "development",
    "redis_url": f"redis://:{'p' * 20}@127.0.0.1/0",
    "jwks_url": "http://127.0.0.1/jwks",
    "database_url": f"postgresql://auth:{'p' * 20}@127.0.0.1/thoughtflow",
    "rabbitmq_url": f"amqp://auth:{'p' * 20}@127.0.0.1/",
    "auth_secret": SECRET,
    "otp_sender": "mock",
}
SENDERS: dict[str, Any] = {
    "smtp_url": "smtp://mail:p4ssw0rd-of-mail@mail.example.org:587",
    "smtp_from": "Thoughtflow <codes@example.org>",
    "twilio_account_sid": "AC-of-twilio",
    "twilio_auth_token": "t0ken-of-twilio-1234",
    "twilio_from": "+15005550006",
}


def test_good_settings_are_accepted_and_their_secret_is_not_shown() -> None:
    settings = Settings(**GOOD)

    assert settings.otp_ttl_s == 300
    assert settings.access_token_ttl_s == 900
    assert SECRET not in repr(settings)


def test_production_refuses_the_mock_sender_by_name() -> None:
    with pytest.raises(ValidationError, match="OTP_SENDER=mock"):
        Settings(**GOOD | {"environment": "production"})


@pytest.mark.parametrize("sender", ["smtp", "twilio", "smtp,twilio", "twilio, smtp"])
def test_production_starts_with_senders_that_are_complete(sender: str) -> None:
    settings = Settings(**GOOD | SENDERS | {"environment": "production", "otp_sender": sender})

    assert set(settings.senders) == set(sender.replace(" ", "").split(","))
    assert not settings.mocks_otp
    for secret in ("p4ssw0rd-of-mail", "t0ken-of-twilio-1234"):
        assert secret not in repr(settings)


@pytest.mark.parametrize("missing", list(SENDERS))
@pytest.mark.parametrize("value", [None, ""])
def test_an_incomplete_sender_is_refused_by_the_name_of_what_it_needs(
    missing: str, value: str | None
) -> None:
    with pytest.raises(ValidationError, match=missing.upper()):
        Settings(**GOOD | SENDERS | {"otp_sender": "smtp,twilio", missing: value})


def test_production_refuses_test_numbers_that_never_end() -> None:
    values = GOOD | SENDERS | {"environment": "production", "otp_sender": "smtp"}
    numbers = {"otp_test_numbers": "+15005550006=123456"}

    with pytest.raises(ValidationError, match="OTP_TEST_NUMBERS_UNTIL"):
        Settings(**values | numbers)
    Settings(**values | numbers | {"otp_test_numbers_until": "2027-01-31"})


def test_a_test_number_has_its_code_until_its_last_day_is_over() -> None:
    numbers = {
        "otp_test_numbers": "+15005550006=123456, +15005550009=000000",
        "otp_test_numbers_until": "2027-01-31",
    }
    settings = Settings(**GOOD | numbers)
    last = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)

    assert settings.test_code("+15005550006", last) == "123456"
    assert settings.test_code("+15005550009", last) == "000000"
    assert settings.test_code("+14155552671", last) is None
    assert settings.test_code("+15005550006", last + timedelta(seconds=1)) is None
    assert Settings(**GOOD).test_code("+15005550006", last) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"auth_secret": "x" * 15},
        {"otp_sender": "fax"},
        {"otp_sender": "mock,smtp"},
        {"otp_sender": ""},
        {"otp_ttl_s": 29},
        {"otp_ttl_s": 601},
        {"smtp_url": "http://mail.example.org"},
        {"smtp_url": "smtp://mail.example.org,mail2.example.org"},
        {"otp_countries": "usa"},
        {"otp_test_numbers": "+15005550006"},
        {"otp_test_numbers": "+15005550006=12345"},
        {"otp_test_numbers_until": "soon"},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**GOOD | bad)


ISSUER = {
    "external_issuer": "https://login.example.com/",
    "external_jwks_url": "https://login.example.com/jwks.json",
    "external_audience": "chats",
}


@pytest.mark.parametrize("missing", sorted(ISSUER))
def test_another_issuer_is_set_as_a_whole_or_not_at_all(missing: str) -> None:
    assert Settings(**GOOD | ISSUER).external_issuer
    assert not Settings(**GOOD | dict.fromkeys(ISSUER, "")).external_issuer
    with pytest.raises(ValidationError, match="EXTERNAL_AUDIENCE are set together"):
        Settings(**GOOD | ISSUER | {missing: ""})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"external_issuer": "thoughtflow"}, "as which auth itself signs"),
        ({"external_jwks_url": "file:///etc/keys"}, "external_jwks_url"),
        (
            {
                **SENDERS,
                "otp_sender": "smtp",
                "environment": "production",
                "external_jwks_url": "http://login.example.com/jwks.json",
            },
            "not https://",
        ),
    ],
)
def test_an_issuer_that_nobody_should_believe_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Settings(**GOOD | ISSUER | changes)

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


def test_good_settings_are_accepted_and_their_secret_is_not_shown() -> None:
    settings = Settings(**GOOD)

    assert settings.otp_ttl_s == 300
    assert settings.access_token_ttl_s == 900
    assert SECRET not in repr(settings)


def test_production_refuses_the_mock_sender_by_name() -> None:
    with pytest.raises(ValidationError, match="OTP_SENDER=mock"):
        Settings(**GOOD | {"environment": "production"})


@pytest.mark.parametrize(
    "bad", [{"auth_secret": "x" * 15}, {"otp_sender": "fax"}, {"otp_ttl_s": 29}, {"otp_ttl_s": 601}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**GOOD | bad)

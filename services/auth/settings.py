"""What auth reads from its environment."""

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.common.settings import MIN_SECRET_LENGTH, CommonSettings


class Settings(CommonSettings):
    """Auth's environment.

    Attributes:
        auth_secret: every key of the service derives from it; changing it ends all sessions and
            makes the stored signing keys unreadable.
        otp_sender: how codes travel; `mock` puts them into the answer, so production refuses it.
        otp_ttl_s: seconds that a code is accepted.
        access_token_ttl_s: seconds that an access token is accepted.
        signing_key_days: days after which a new key signs access tokens.
        address_signups_per_hour: sign-ups from one network, a /24 in IPv4 or a /64 in IPv6; 0
            switches the limit off.
        address_sends_per_hour: codes that one network may ask for, as above.
        address_failures_per_hour: wrong codes that one network may try, as above.
    """

    auth_secret: SecretStr
    otp_sender: Literal["mock"]
    otp_ttl_s: int = Field(default=300, ge=30, le=600)
    access_token_ttl_s: int = Field(default=900, ge=60, le=3600)
    signing_key_days: int = Field(default=90, ge=1, le=3650)
    address_signups_per_hour: int = Field(default=300, ge=0)
    address_sends_per_hour: int = Field(default=300, ge=0)
    address_failures_per_hour: int = Field(default=100, ge=0)

    @field_validator("auth_secret")
    @classmethod
    def _refuse_short_secret(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"is too short; use at least {MIN_SECRET_LENGTH} random characters")
        return secret

    @model_validator(mode="after")
    def _refuse_mock_in_production(self) -> Self:
        if self.environment == "production" and self.otp_sender == "mock":
            raise ValueError(
                "OTP_SENDER=mock shows one-time codes to whoever asks and is refused in "
                "production; set ENVIRONMENT=development to try things out"
            )
        return self

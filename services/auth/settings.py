"""What auth reads from its environment."""

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.common.identity import ISSUER
from libs.common.settings import MIN_SECRET_LENGTH
from services.auth.otp_settings import OtpSettings


class Settings(OtpSettings):
    """Auth's environment.

    Attributes:
        auth_secret: every key of the service derives from it; changing it ends all sessions and
            makes the stored signing keys unreadable.
        access_token_ttl_s: seconds that an access token is accepted.
        signing_key_days: days after which a new key signs access tokens.
        address_signups_per_hour: sign-ups from one network, a /24 in IPv4 or a /64 in IPv6; 0
            switches the limit off.
        address_guests_per_hour: guests from one network, as above.
        address_sends_per_hour: codes that one network may ask for, as above.
        address_failures_per_hour: wrong codes that one network may try, as above.
        external_issuer: `iss` of another issuer's tokens that are accepted; unset or empty for
            none. The next two are set with it.
        external_jwks_url: where that issuer publishes its keys.
        external_audience: `aud` that its tokens for this server have.
    """

    auth_secret: SecretStr
    access_token_ttl_s: int = Field(default=900, ge=60, le=3600)
    signing_key_days: int = Field(default=90, ge=1, le=3650)
    address_signups_per_hour: int = Field(default=300, ge=0)
    address_guests_per_hour: int = Field(default=60, ge=0)
    address_sends_per_hour: int = Field(default=300, ge=0)
    address_failures_per_hour: int = Field(default=100, ge=0)

    external_issuer: str = ""
    external_jwks_url: str = Field(default="", pattern="^(https?://.+)?$")
    external_audience: str = ""

    @model_validator(mode="after")
    def _refuse_half_an_issuer(self) -> Self:
        given = [self.external_issuer, self.external_jwks_url, self.external_audience]
        if any(given) and not all(given):
            raise ValueError(
                "EXTERNAL_ISSUER, EXTERNAL_JWKS_URL and EXTERNAL_AUDIENCE are set together"
            )
        if self.external_issuer == ISSUER:
            raise ValueError(f"EXTERNAL_ISSUER is {ISSUER!r}, as which auth itself signs")
        if self.environment == "production" and self.external_jwks_url.startswith("http:"):
            raise ValueError("EXTERNAL_JWKS_URL is not https://, so anybody on the way could sign")
        return self

    @field_validator("auth_secret")
    @classmethod
    def _refuse_short_secret(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"is too short; use at least {MIN_SECRET_LENGTH} random characters")
        return secret

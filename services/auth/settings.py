"""What auth reads from its environment."""

from pydantic import Field, SecretStr, field_validator

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
    """

    auth_secret: SecretStr
    access_token_ttl_s: int = Field(default=900, ge=60, le=3600)
    signing_key_days: int = Field(default=90, ge=1, le=3650)
    address_signups_per_hour: int = Field(default=300, ge=0)
    address_guests_per_hour: int = Field(default=60, ge=0)
    address_sends_per_hour: int = Field(default=300, ge=0)
    address_failures_per_hour: int = Field(default=100, ge=0)

    @field_validator("auth_secret")
    @classmethod
    def _refuse_short_secret(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"is too short; use at least {MIN_SECRET_LENGTH} random characters")
        return secret

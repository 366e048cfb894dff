"""What auth reads from its environment about one-time codes: who sends them, how many, where to."""

import re
from datetime import date, datetime
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.common.settings import CommonSettings, split_names

SENDERS = {"smtp", "twilio"}
NEEDED = {
    "smtp": ("smtp_url", "smtp_from"),
    "twilio": ("twilio_account_sid", "twilio_auth_token", "twilio_from"),
}
_TEST_NUMBER = re.compile(r"(\+[0-9]{6,15})=([0-9]{6})")


class OtpSettings(CommonSettings):
    """Environment of one-time codes.

    Attributes:
        otp_sender: `mock`, or those of `SENDERS` with commas between them. Each serves a channel:
            smtp e-mail, twilio SMS. A channel without a sender is refused.
        otp_ttl_s: seconds that a code is accepted.
        otp_countries: ISO 3166 codes of the countries whose numbers get codes; empty for all.
        otp_test_numbers: `+15005550006=123456`, several with commas between them: such a number
            gets no message, its code is always that one, and no limit on sends counts it.
        otp_test_numbers_until: the last day, in UTC, that test numbers are taken for that.
        otp_budget_per_hour: cost units that all sends together may use; 0 for any number.
        otp_sms_cost: cost units of an SMS.
        otp_email_cost: cost units of an e-mail.
        range_sends_per_hour: codes to one range of 10,000 phone numbers; 0 for any number.
        smtp_url: `smtp://user:password@host:587` (STARTTLS) or `smtps://...:465`; several with
            commas between them are tried in order.
        smtp_from: the sender of e-mails, `Name <box@host>` or an address.
        twilio_account_sid: `AC...`.
        twilio_auth_token: its token.
        twilio_from: number or messaging service (`MG...`); several with commas between them are
            tried in order.
        twilio_api_base: where Twilio's API is, without a slash at the end.
    """

    otp_sender: str
    otp_ttl_s: int = Field(default=300, ge=30, le=600)
    otp_countries: str = Field(default="", pattern="^([A-Z]{2}( *, *[A-Z]{2})*)?$")
    otp_test_numbers: SecretStr | None = None
    otp_test_numbers_until: date | None = None
    otp_budget_per_hour: int = Field(default=10_000, ge=0)
    otp_sms_cost: int = Field(default=10, ge=0)
    otp_email_cost: int = Field(default=1, ge=0)
    range_sends_per_hour: int = Field(default=300, ge=0)
    smtp_url: SecretStr | None = None
    smtp_from: str | None = None
    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_from: str | None = None
    twilio_api_base: str = Field(default="https://api.twilio.com", pattern="^https?://.*[^/]$")

    @field_validator(
        *("smtp_url", "smtp_from", "twilio_account_sid", "twilio_auth_token", "twilio_from"),
        *("otp_test_numbers", "otp_test_numbers_until"),
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        # Compose files pass an unset variable on as an empty one.
        return None if value == "" else value

    @field_validator("otp_sender")
    @classmethod
    def _refuse_unknown_senders(cls, text: str) -> str:
        names = split_names(text)
        if text != "mock" and not (names and set(names) <= SENDERS):
            raise ValueError("is `mock`, or `smtp`, `twilio` or both with a comma between them")
        return text

    @field_validator("smtp_url")
    @classmethod
    def _refuse_bad_servers(cls, value: SecretStr | None) -> SecretStr | None:
        for url in split_names(value.get_secret_value() if value else ""):
            parts = urlsplit(url)
            if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
                raise ValueError("is smtp://user:password@host:587 or smtps://...:465")
        return value

    @field_validator("otp_test_numbers")
    @classmethod
    def _refuse_bad_test_numbers(cls, value: SecretStr | None) -> SecretStr | None:
        for pair in split_names(value.get_secret_value() if value else ""):
            if not _TEST_NUMBER.fullmatch(pair):
                raise ValueError("is +15005550006=123456, several with commas between them")
        return value

    @model_validator(mode="after")
    def _refuse_incomplete_senders(self) -> Self:
        for sender in self.senders:
            for name in NEEDED[sender]:
                if not getattr(self, name):
                    raise ValueError(f"{name.upper()} is needed by OTP_SENDER={self.otp_sender}")
        return self

    @model_validator(mode="after")
    def _refuse_what_tests_need_in_production(self) -> Self:
        if self.environment != "production":
            return self
        if self.mocks_otp:
            raise ValueError(
                "OTP_SENDER=mock shows one-time codes to whoever asks and is refused in "
                "production; set ENVIRONMENT=development to try things out"
            )
        if self.otp_test_numbers and not self.otp_test_numbers_until:
            raise ValueError("OTP_TEST_NUMBERS_UNTIL must say when OTP_TEST_NUMBERS end")
        return self

    @property
    def mocks_otp(self) -> bool:
        """Whether codes are put into the answer and sent nowhere."""
        return self.otp_sender == "mock"

    @property
    def senders(self) -> tuple[str, ...]:
        """Those that send for real, in the order to try."""
        return () if self.mocks_otp else split_names(self.otp_sender)

    @property
    def countries(self) -> tuple[str, ...]:
        """The countries whose numbers get codes; none means all."""
        return split_names(self.otp_countries)

    def test_code(self, value: str, now: datetime) -> str | None:
        """Return the fixed code of a test number, None for everybody else."""
        if self.otp_test_numbers is None:
            return None
        until = self.otp_test_numbers_until
        if until is not None and now.date() > until:
            return None
        pairs = split_names(self.otp_test_numbers.get_secret_value())
        return dict(pair.split("=") for pair in pairs).get(value)

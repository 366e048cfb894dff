"""Billing's settings."""

from typing import Any

from pydantic import Field, SecretStr, field_validator

from libs.common.settings import CommonSettings


class Settings(CommonSettings):
    """Environment of billing.

    Attributes:
        stripe_secret_key: API key of the Stripe account, `sk_...` or `rk_...`.
        stripe_api_base: where Stripe's API is, without a slash at the end; unset is Stripe itself.
        stripe_webhook_secret: `whsec_...` of the endpoint, several separated by commas while one
            replaces another; unset or empty closes the endpoint.
        stripe_pro_price_id: the recurring price of Pro, `price_...`; of several with commas between
            them the first is sold, and each makes a user Pro.
        public_url: where people reach the gateway, without a slash at the end.
        basic_messages_per_day: messages that the Basic plan grants per UTC day.
        guest_messages_per_day: messages that a guest may send per UTC day.
        basic_models: comma-separated ids of the models that Basic users may choose; empty is only
            the default one.
        pro_models: the same for Pro users.
        past_due_grace_days: days that Pro outlives the start of a period whose payment failed.
    """

    stripe_secret_key: SecretStr = Field(min_length=1)
    stripe_api_base: str | None = Field(default=None, pattern="^https?://.*[^/]$")
    stripe_webhook_secret: SecretStr | None = None
    stripe_pro_price_id: str = Field(pattern="^[^ ,]+( *, *[^ ,]+)*$")
    public_url: str = Field(pattern="^https?://.*[^/]$")
    basic_messages_per_day: int = Field(default=20, ge=0)
    guest_messages_per_day: int = Field(default=5, ge=0)
    basic_models: str = ""
    pro_models: str = ""
    past_due_grace_days: int = Field(default=3, ge=0, le=60)

    @field_validator("stripe_api_base", "stripe_webhook_secret", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        # Compose files pass an unset variable on as an empty one.
        return None if value == "" else value

    @property
    def pro_price_ids(self) -> list[str]:
        """The prices that make a user Pro; the first one is sold."""
        return [price_id.strip() for price_id in self.stripe_pro_price_id.split(",")]

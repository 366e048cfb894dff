"""Billing's settings."""

from typing import Any

from pydantic import Field, SecretStr, field_validator

from libs.common.events import Entitlements, Plan
from libs.common.plans import Members, PlanSettings, granting
from libs.common.settings import split_names


class Settings(PlanSettings):
    """Environment of billing.

    Attributes:
        stripe_secret_key: API key of the Stripe account, `sk_...` or `rk_...`.
        stripe_api_base: where Stripe's API is, without a slash at the end; unset is Stripe itself.
        stripe_webhook_secret: `whsec_...` of the endpoint, several separated by commas while one
            replaces another; unset or empty closes the endpoint.
        stripe_pro_price_id: the recurring price of Pro, `price_...`; of several with commas between
            them the first is sold, and each makes a user Pro.
        public_url: where people reach the gateway, without a slash at the end.
        pro_models: comma-separated ids of the models that Pro users may choose; empty is only the
            default one.
        pro_entitlements: what else the Pro plan grants; without more it has no limits.
        past_due_grace_days: days that Pro outlives the start of a period whose payment failed.
    """

    stripe_secret_key: SecretStr = Field(min_length=1)
    stripe_api_base: str | None = Field(default=None, pattern="^https?://.*[^/]$")
    stripe_webhook_secret: SecretStr | None = None
    stripe_pro_price_id: str = Field(pattern="^[^ ,]+( *, *[^ ,]+)*$")
    public_url: str = Field(pattern="^https?://.*[^/]$")
    pro_models: str = ""
    pro_entitlements: Members = Field(default={})
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

    def plans(self) -> dict[Plan, Entitlements]:
        """Return what each plan grants by itself."""
        pro = granting(
            self.pro_entitlements, messages_per_day=None, models=split_names(self.pro_models)
        )
        return {"basic": self.unbilled(guest=False), "pro": pro}

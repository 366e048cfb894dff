"""Billing's settings."""

from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.common.events import Entitlements, Plan
from libs.common.plans import Members, PlanSettings, granting
from libs.common.settings import split_names


class Settings(PlanSettings):
    """Environment of billing.

    Attributes:
        stripe_secret_key: API key of the Stripe account, `sk_...` or `rk_...`.
        stripe_api_base: where Stripe's API is, without a slash at the end; unset is Stripe itself.
        stripe_webhook_secret: `whsec_...` of the endpoint, several separated by commas while one
            replaces another; unset or empty closes the endpoint, which production refuses.
        stripe_pro_price_id: the recurring price of Pro, `price_...`; of several with commas between
            them the first is sold, and each makes a user Pro.
        stripe_pro_annual_price_id: the same of Pro by the year; unset sells it by the month only.
        pro_trial_days: free days for who never had a subscription; 0 is no trial.
        stripe_coupon_id: coupon that every purchase of Pro gets.
        stripe_promotion_codes: whether people may type promotion codes at the checkout; Stripe
            allows that or a coupon.
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
    stripe_pro_annual_price_id: str | None = Field(default=None, pattern="^[^ ,]+( *, *[^ ,]+)*$")
    pro_trial_days: int = Field(default=0, ge=0, le=730)
    stripe_coupon_id: str | None = None
    stripe_promotion_codes: bool = False
    public_url: str = Field(pattern="^https?://.*[^/]$")
    pro_models: str = ""
    pro_entitlements: Members = Field(default={})
    past_due_grace_days: int = Field(default=3, ge=0, le=60)

    @field_validator(
        "stripe_api_base",
        "stripe_webhook_secret",
        "stripe_pro_annual_price_id",
        "stripe_coupon_id",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        # Compose files pass an unset variable on as an empty one.
        return None if value == "" else value

    @model_validator(mode="after")
    def _refuse_two_discounts(self) -> Self:
        if self.stripe_coupon_id and self.stripe_promotion_codes:
            raise ValueError("set STRIPE_COUPON_ID or STRIPE_PROMOTION_CODES, not both")
        return self

    @model_validator(mode="after")
    def _refuse_no_webhooks(self) -> Self:
        # Not a closed endpoint found out about by the first customer who paid and is not Pro.
        if self.environment == "production" and self.stripe_webhook_secret is None:
            raise ValueError("STRIPE_WEBHOOK_SECRET is empty, so nobody would become Pro in time")
        return self

    @property
    def pro_price_ids(self) -> list[str]:
        """The prices that make a user Pro."""
        return [each for prices in self._prices.values() for each in prices]

    def price_sold(self, interval: Literal["month", "year"]) -> str | None:
        """Return the price at which Pro is sold by the interval, None if it is not."""
        return next(iter(self._prices[interval]), None)

    @property
    def _prices(self) -> dict[str, tuple[str, ...]]:
        return {
            "month": split_names(self.stripe_pro_price_id),
            "year": split_names(self.stripe_pro_annual_price_id or ""),
        }

    def plans(self) -> dict[Plan, Entitlements]:
        """Return what each plan grants by itself."""
        pro = granting(
            self.pro_entitlements, messages_per_day=None, models=split_names(self.pro_models)
        )
        return {"basic": self.unbilled(guest=False), "pro": pro}

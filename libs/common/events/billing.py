"""Events announced by the billing service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.events.base import Event

Plan = Literal["basic", "pro"]


class Entitlements(BaseModel):
    """What a plan grants; None is no limit, or the reader's own default one for rates.

    Attributes:
        messages_per_day: messages per UTC day.
        messages_per_month: messages per UTC calendar month.
        tokens_per_day: tokens of prompts and replies per UTC day.
        tokens_per_month: the same per UTC calendar month.
        cost_micros_per_month: what the models may cost per UTC calendar month, in millionths of a
            US dollar.
        concurrent_replies: replies that may be queued or written at the same time.
        requests_per_minute: lasting rate at the gateway.
        burst: requests that may come at once at the gateway after a pause.
        models: ids of the models that the user may choose; empty means only the default one.
    """

    model_config = ConfigDict(frozen=True)

    messages_per_day: int | None = Field(ge=0)
    messages_per_month: int | None = Field(default=None, ge=0)
    tokens_per_day: int | None = Field(default=None, ge=0)
    tokens_per_month: int | None = Field(default=None, ge=0)
    cost_micros_per_month: int | None = Field(default=None, ge=0)
    concurrent_replies: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    burst: int | None = Field(default=None, ge=1)
    models: tuple[str, ...] = ()


class SubscriptionChanged(Event):
    """What a user may do has changed; carries the whole new state.

    Produced by `services.billing.actions`; consumed by ai, auth, chat and the gateway.

    Attributes:
        user_id: whose plan it is.
        version: grows with each change of this user; a reader ignores any that is not newer.
        plan: the plan in force now.
        status: Stripe's word for the subscription, `none` if there never was one.
        entitlements: what the plan grants.
        current_period_end: until when it is paid.
        cancel_at_period_end: whether it ends then.
    """

    TYPE: ClassVar[str] = "billing.subscription_changed.v1"

    user_id: UUID
    version: int = Field(ge=1)
    plan: Plan
    status: str
    entitlements: Entitlements
    current_period_end: AwareDatetime | None = None
    cancel_at_period_end: bool = False

"""Events announced by the billing service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.events.base import Event

Plan = Literal["basic", "pro"]


class Entitlements(BaseModel):
    """What a plan grants.

    Attributes:
        messages_per_day: messages per UTC day; None is no limit.
        models: ids of the models that the user may choose; empty means only the default one.
    """

    model_config = ConfigDict(frozen=True)

    messages_per_day: int | None = Field(ge=0)
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

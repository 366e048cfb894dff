"""Why a user has the standing that they have: rows, and bodies of answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from typing_extensions import TypedDict

from services.billing.models import SubscriptionOut

Cause = Literal["event", "redirect", "user", "sweep", "support", "setting", "grant", "healing"]
"""Why Stripe was asked, or something was decided: a webhook, the page after the payment, what the
user did here, the passing of time, a person of support, an operator, or a duplicate."""

Effect = Literal["changed", "none", "duplicate_found", "duplicate_healed"]


class EventName(TypedDict):
    """Which event of Stripe's it was."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that changed a user's standing, or was looked at and did not.

    Attributes:
        seq: grows; not by one.
        at: UTC.
        cause: who asked for it.
        effect: what came of it.
        events: those of Stripe's that it settled.
        before: the standing, or for a duplicate which one it is and which one stays.
        after: the standing, or for a duplicate what was given back.
    """

    seq: int
    at: datetime
    cause: Cause
    effect: Effect
    events: list[EventName]
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A subscription beside another one; `since` is when both existed, UTC."""

    subscription_id: str
    kept_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """A payment that was given back, in minor units; `refused` is Stripe's word if it was not."""

    payment_id: str
    amount: int
    currency: str
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of Stripe's that is still to be applied."""

    id: str
    type: str
    stripe_customer_id: str
    received_at: datetime
    attempts: int
    next_try_at: datetime
    error: str | None


class EventNameOut(BaseModel):
    """Which event of Stripe's it was."""

    id: str
    type: str


class TimelineEntryOut(BaseModel):
    """Something that changed a plan, or was looked at and did not.

    Attributes:
        seq: grows with time.
        cause: `event`: a webhook of Stripe's; `redirect`: the page after a payment; `user`: what
            the user did here; `sweep`: a regular look at Stripe; `support`: a person of support;
            `setting`: an operator; `grant`: something granted beside the plan; `healing`: the end
            of a subscription too many. There may be more.
        effect: `changed`, `none`, `duplicate_found` or `duplicate_healed`; there may be more.
        events: those of Stripe's that this look at Stripe settled.
        before: as it was.
        after: as it was from then on, or what was given back.
    """

    seq: int
    at: AwareDatetime
    cause: str
    effect: str
    events: list[EventNameOut]
    before: dict[str, Any]
    after: dict[str, Any]


class TimelinePage(BaseModel):
    """A page of a timeline; pass `next_cursor` as `cursor` for older entries."""

    data: list[TimelineEntryOut]
    next_cursor: int | None
    has_more: bool


class BillingOut(BaseModel):
    """Somebody's plan and where it comes from, to support.

    Attributes:
        stripe_customer_id: who they are at Stripe, if anybody.
        stripe_subscription_id: what the plan follows from.
        version: of what was announced last.
        why: in a sentence.
        subscription: what they see of it themselves.
        timeline: the latest first.
    """

    user_id: UUID
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
    version: int
    why: str
    subscription: SubscriptionOut
    timeline: TimelinePage


class StripeEventOut(BaseModel):
    """An event of Stripe's that is still to be applied.

    Attributes:
        attempts: that failed.
        next_try_at: when it is tried again by itself.
        error: kind of the last failure; the log has more.
    """

    id: str
    type: str
    stripe_customer_id: str
    received_at: AwareDatetime
    attempts: int
    next_try_at: AwareDatetime
    error: str | None


class StripeEventPage(BaseModel):
    """A page of events; pass `next_cursor` as `cursor` for later ones."""

    data: list[StripeEventOut]
    next_cursor: str | None
    has_more: bool

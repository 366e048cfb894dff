"""Billing's data: rows, what is read of Stripe's objects, and bodies of answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from libs.common.events import Entitlements, Plan

Interval = Literal["month", "year"]
"""How often Pro is paid for."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we read of a Stripe subscription.

    Attributes:
        id: `sub_...`.
        status: Stripe's word.
        period_start: start of the current period, UTC; a `past_due` one was not paid from here on.
        period_end: end of the current period, UTC.
        ends_at: when it is set to end, UTC, if it is.
        created_at: UTC, to the second.
        price_ids: what it is for.
        is_taken_back: whether the payment for the current period was given or charged back.
    """

    id: str
    status: str
    period_start: datetime
    period_end: datetime
    ends_at: datetime | None
    created_at: datetime
    price_ids: frozenset[str] = frozenset()
    is_taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user's subscriptions amount to; the defaults are those of a user without any."""

    plan: Plan = "basic"
    status: str = "none"
    stripe_subscription_id: str | None = None
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False


@dataclass(frozen=True, slots=True)
class KnownStanding:
    """A standing as last read from Stripe.

    Attributes:
        standing: the standing.
        version: grows with each change; 0 before the first.
        as_of: when Stripe was asked, UTC; None means never.
        granted: what the plan alone granted when that version was announced, None if not known.
        grants_change_at: when one of the user's grants begins or ends next, UTC.
        announced: with that version, the plan that counts and its entitlements, grants included.
    """

    standing: Standing = Standing()
    version: int = 0
    as_of: datetime | None = None
    granted: Entitlements | None = None
    grants_change_at: datetime | None = None
    announced: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do besides their plan.

    Attributes:
        plan: counts in the place of what is paid for, None for that.
        entitlements: members of `Entitlements` that count in the place of the plan's.
        reason: for those who look after accounts, and in the user's archive.
        granted_by: the admin, None once they have deleted their account.
        starts_at: UTC, as all of these are.
        expires_at: None for never.
        ended_at: when it was taken back.
    """

    id: UUID
    user_id: UUID
    plan: Plan | None
    entitlements: dict[str, Any]
    reason: str
    granted_by: UUID | None
    created_at: datetime
    starts_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A user as a customer of Stripe.

    Attributes:
        user_id: the user.
        stripe_customer_id: `cus_...`, once there is one.
        email: as auth announced it.
        phone: in E.164.
        name: as the user typed it.
        attempt: calls to Stripe whose outcome we know; part of the next one's idempotency key.
    """

    user_id: UUID
    stripe_customer_id: str | None
    email: str | None
    phone: str | None
    name: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """What we read of a Stripe invoice, and of the payments for it; amounts in the smallest unit.

    Attributes:
        id: `in_...`.
        subscription_id: what it is for, `sub_...`.
        number: as printed on it.
        status: Stripe's word: `open`, `paid`, `uncollectible` or `void`.
        currency: ISO 4217 in lower case.
        total: what it asks for.
        amount_paid: what was paid.
        refunded_amount: what was given back of that.
        dispute_status: Stripe's word for the dispute about the payment, if there is one.
        period_start: from when on it pays for the subscription, UTC.
        period_end: until when, UTC.
        created_at: UTC.
        hosted_url: Stripe's page of it.
        pdf_url: the same to print.
        payment_intent_ids: `pi_...`; by them Stripe tells of disputes.
    """

    id: str
    subscription_id: str | None
    number: str | None
    status: str
    currency: str
    total: int
    amount_paid: int
    refunded_amount: int
    dispute_status: str | None
    period_start: datetime
    period_end: datetime
    created_at: datetime
    hosted_url: str | None
    pdf_url: str | None
    payment_intent_ids: tuple[str, ...] = ()

    @property
    def disputed(self) -> bool:
        """Whether it ever was."""
        return self.dispute_status is not None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a checkout session sells.

    Attributes:
        price_id: `price_...`.
        trial_days: free days before the first payment.
        coupon_id: a discount that everybody gets.
        promotion_codes: whether the person may type a code for a discount.
    """

    price_id: str
    trial_days: int = 0
    coupon_id: str | None = None
    promotion_codes: bool = False


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout session that the user may pay.

    Attributes:
        session_id: `cs_...`.
        url: Stripe's page.
        expires_at: UTC.
        price_id: what it sells; None of one that is older than this note.
    """

    session_id: str
    url: str
    expires_at: datetime
    price_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionState:
    """What became of a checkout session; `stripe_customer_id` is whose it is."""

    status: Literal["open", "complete", "expired"]
    stripe_customer_id: str | None


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """A verified event; only its id and its customer decide anything.

    Attributes:
        id: `evt_...`.
        type: Stripe's name of it.
        stripe_customer_id: whom it is about, if it says.
        payload: the body, byte for byte.
        payment_intent_id: which payment it is about, if it says; disputes name no customer.
    """

    id: str
    type: str
    stripe_customer_id: str | None
    payload: str
    payment_intent_id: str | None = None


class CheckoutOut(BaseModel):
    """Where to pay.

    Attributes:
        checkout_url: Stripe's page for this purchase; open it in a browser.
        session_id: Stripe's id of the checkout session.
        expires_at: until when the page can be used.
    """

    checkout_url: str
    session_id: str
    expires_at: AwareDatetime


class GrantedOut(BaseModel):
    """What the caller was granted besides what they pay for.

    Attributes:
        plan: counts in the place of what is paid for; null for that.
        entitlements: what counts in the place of the plan's.
        expires_at: null for never.
    """

    plan: Plan | None
    entitlements: dict[str, Any]
    expires_at: AwareDatetime | None


class SubscriptionOut(BaseModel):
    """What the caller has subscribed to.

    Attributes:
        plan: the plan in force, a granted one too.
        status: Stripe's word for the subscription, `none` if there never was one.
        current_period_end: end of the current billing period.
        cancel_at_period_end: whether the subscription ends then.
        entitlements: what the caller may do now; null is no limit.
        grants: what was granted besides, as far as it is in force; the newest counts most.
        as_of: when Stripe was last asked; null before the first time.
    """

    plan: Plan
    status: str
    current_period_end: AwareDatetime | None
    cancel_at_period_end: bool
    entitlements: Entitlements
    grants: list[GrantedOut]
    as_of: AwareDatetime | None


class Received(BaseModel):
    """The event is stored; it may take effect a moment later."""

    received: Literal[True] = True

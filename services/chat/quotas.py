"""What a plan limits, as clients are told: headers, refusals, and what is left. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from libs.common.errors import LimitReachedError
from libs.common.rate_headers import QUOTA_EXCEEDED, policy_member, state_member
from services.chat.errors import (
    DailyLimitReachedError,
    MonthlyLimitReachedError,
    TokenLimitReachedError,
    TooManyRepliesError,
)
from services.chat.models import Posted, QuotaState

Window = Literal["day", "month"]
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit of a plan.

    Attributes:
        name: what headers and refusals call it.
        unit: what is counted.
        window: the part of the UTC calendar that it is for, None for what is open at a time.
        error: the refusal of a post that would pass it.
    """

    name: str
    unit: str
    window: Window | None
    error: type[LimitReachedError]


POLICIES = (
    Policy("messages", "messages", "day", DailyLimitReachedError),
    Policy("messages-month", "messages", "month", MonthlyLimitReachedError),
    Policy("tokens", "tokens", "day", TokenLimitReachedError),
    Policy("tokens-month", "tokens", "month", TokenLimitReachedError),
    Policy("concurrent", "concurrent-requests", None, TooManyRepliesError),
)
"""In the order of the arrays `limits` and `used`."""

UPGRADES = {"guest": ("/auth/upgrade", "as a user"), "basic": ("/subscribe/pro", "with Pro")}
"""Where there is more, by what somebody is now; above the best plan there is nothing."""

RETRY_REPLIES_S = 2
"""Seconds until it is worth asking whether a reply has ended: nobody knows when one will."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How a user stands against one policy.

    Attributes:
        limit: None for none.
        resets_at: UTC; None for what is open at a time.
        window_s: length of the day or month.
    """

    policy: Policy
    limit: int | None
    used: int
    resets_at: datetime | None
    window_s: int | None

    @property
    def remaining(self) -> int | None:
        """What is left, None for any number; 0 too if a limit was lowered below what is used."""
        return None if self.limit is None else max(0, self.limit - self.used)


def allowances(limits: Sequence[int | None], used: Sequence[int], now: datetime) -> list[Allowance]:
    """Return how a user stands against every policy at `now` (UTC)."""
    spans: dict[Window | None, tuple[datetime | None, int | None]] = {
        "day": (_next_day(now), DAY_S),
        "month": _month(now),
        None: (None, None),
    }
    return [
        Allowance(policy, limit, counted, *spans[policy.window])
        for policy, limit, counted in zip(POLICIES, limits, used, strict=True)
    ]


def rate_headers(state: QuotaState | Posted, now: datetime) -> dict[str, str]:
    """Return the `RateLimit` fields about what is limited at all; none for a repeated post."""
    if state.limits is None or state.used is None:
        return {}
    policies, states = [], []
    for each in allowances(state.limits, state.used, now):
        if each.limit is not None and each.remaining is not None:
            name, unit = each.policy.name, each.policy.unit
            policies.append(
                policy_member(name, quota=each.limit, window_s=each.window_s, unit=unit)
            )
            reset_s = _seconds_until(each.resets_at, now)
            states.append(state_member(name, remaining=each.remaining, reset_s=reset_s))
    if not policies:
        return {}
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def limit_error(posted: Posted, now: datetime, *, guest: bool) -> LimitReachedError:
    """Return the refusal of a post by the policies that it would pass.

    The one that takes longest to let more through gives the code and the time.

    Args:
        posted: with the outcome `limit`.
        now: UTC.
        guest: whether nobody knows who the user is.
    """
    limits, used, tokens = posted.limits or (), posted.used or (), posted.tokens or 0
    needs = {"messages": 1, "tokens": tokens, "concurrent-requests": 1}
    violated = [
        each
        for each in allowances(limits, used, now)
        if each.limit is not None and each.used + needs[each.policy.unit] > each.limit
    ]
    worst = max(violated, key=lambda each: each.resets_at or now)
    retry_after_s = _seconds_until(worst.resets_at, now) or RETRY_REPLIES_S
    upgrade_url, way = UPGRADES.get("guest" if guest else posted.plan or "basic", (None, ""))
    upgrade = f"; there is more at once {way}: POST {upgrade_url}" if upgrade_url else ""
    return worst.policy.error(
        _told(worst, tokens) + upgrade,
        extra={
            "type": QUOTA_EXCEEDED,
            "violated-policies": [each.policy.name for each in violated],
            "policy": worst.policy.name,
            "limit": worst.limit,
            "used": worst.used,
            "resets_at": worst.resets_at.isoformat() if worst.resets_at else None,
            "retry_after": retry_after_s,
            **({"upgrade_url": upgrade_url} if upgrade_url else {}),
        },
        headers={"Retry-After": str(retry_after_s), **rate_headers(posted, now)},
    )


def _told(worst: Allowance, tokens: int) -> str:
    """Return what was passed, and when there is more."""
    if worst.resets_at is None:
        return (
            f"your plan allows {worst.limit} replies at the same time; wait until one has ended, "
            "or stop it"
        )
    needed = f", of which this message may take {tokens}" if worst.policy.unit == "tokens" else ""
    return (
        f"your plan allows {worst.limit} {worst.policy.unit} a {worst.policy.window}{needed}; "
        f"more from {worst.resets_at:%Y-%m-%d %H:%M} UTC"
    )


def _next_day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _month(now: datetime) -> tuple[datetime, int]:
    """Return when the month after that of `now` begins, and the seconds that this one has."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (first + timedelta(days=32)).replace(day=1)
    return end, (end - first).days * DAY_S


def _seconds_until(instant: datetime | None, now: datetime) -> int | None:
    """Return whole seconds, at least 1; None if there is no such instant."""
    return None if instant is None else max(1, int((instant - now).total_seconds()))

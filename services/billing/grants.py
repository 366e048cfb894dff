"""What a user may do: their plan, and what was granted to them besides. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from libs.common.events import Entitlements, Plan
from services.billing.models import Grant


def live(grants: Iterable[Grant], now: datetime) -> list[Grant]:
    """Return those that are in force at `now` (UTC), in their order."""
    return [
        each
        for each in grants
        if each.ended_at is None
        and each.starts_at <= now
        and (each.expires_at is None or now < each.expires_at)
    ]


def effective(
    plan: Plan, grants: Sequence[Grant], *, plans: Mapping[Plan, Entitlements]
) -> tuple[Plan, Entitlements]:
    """Return the plan that counts and what it grants with all grants.

    Args:
        plan: what is paid for.
        grants: those in force, oldest first: of two that name the same thing the newer one counts.
        plans: what each plan grants by itself.
    """
    for each in grants:
        plan = each.plan or plan
    granted = plans[plan].model_dump()
    for each in grants:
        granted |= each.entitlements
    return plan, Entitlements.model_validate(granted)


def next_change(grants: Iterable[Grant], now: datetime) -> datetime | None:
    """Return when the next grant begins or ends after `now`, None if none will."""
    instants = (
        instant
        for each in grants
        if each.ended_at is None
        for instant in (each.starts_at, each.expires_at)
        if instant is not None and instant > now
    )
    return min(instants, default=None)

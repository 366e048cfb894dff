"""Ending a subscription with its period, and going on after all."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from services.billing import rules
from services.billing.actions import syncing
from services.billing.actions.holding import user_held
from services.billing.errors import (
    BillingUnavailableError,
    NothingToCancelError,
    NothingToResumeError,
)
from services.billing.resources import Resources
from services.billing.store import customers, standings

CHANGE_S = 9.0
"""Seconds until someone who wants to cancel or resume is asked to come back."""


async def cancel_subscription(res: Resources, user_id: UUID) -> None:
    """Let the user's subscription end with its period; what was paid for stays theirs until then.

    A second time changes nothing.

    Raises:
        NothingToCancelError: there is none, or it is over.
        BillingUnavailableError: there is no usable answer within `CHANGE_S`.
    """
    await _change(
        res,
        user_id,
        res.payments.end_with_period,
        NothingToCancelError("you have no subscription, so nothing will be charged"),
    )


async def resume_subscription(res: Resources, user_id: UUID) -> None:
    """Take back the end of the user's subscription; one that goes on anyway does so.

    Raises:
        NothingToResumeError: there is none, or it is over.
        BillingUnavailableError: there is no usable answer within `CHANGE_S`.
    """
    await _change(
        res,
        user_id,
        res.payments.keep,
        NothingToResumeError("you have no subscription to resume; start with POST /subscribe/pro"),
    )


async def _change(
    res: Resources,
    user_id: UUID,
    change: Callable[[str], Awaitable[None]],
    nothing: NothingToCancelError | NothingToResumeError,
) -> None:
    async with user_held(res, user_id, within_s=CHANGE_S) as conn:
        customer_id = await customers.stripe_customer_of(conn, user_id)
        if customer_id is None:
            raise nothing
        standing = (await standings.standing_of(conn, user_id)).standing
        if rules.changeable(standing) is None:  # it may have begun unheard
            standing = await syncing.sync(res, conn, user_id, customer_id)
        subscription_id = rules.changeable(standing)
        if subscription_id is None:
            raise nothing
        try:
            await change(subscription_id)
        except BillingUnavailableError as exc:
            if not exc.answered:
                raise
            # Stripe refuses to change what has ended, perhaps unheard.
            standing = await syncing.sync(res, conn, user_id, customer_id)
            if rules.changeable(standing) == subscription_id:
                raise
            raise nothing from exc
        await syncing.sync(res, conn, user_id, customer_id)

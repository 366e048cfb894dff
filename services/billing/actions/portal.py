"""The way to Stripe's customer portal."""

import asyncio
from uuid import UUID

import structlog

from services.billing.errors import (
    BillingUnavailableError,
    CustomerGoneError,
    NotACustomerError,
)
from services.billing.resources import Resources
from services.billing.store import customers

log = structlog.stdlib.get_logger()
PORTAL_S = 9.0
"""Seconds until someone who wants to see the portal is asked to come back."""


async def open_portal(res: Resources, user_id: UUID, *, within_s: float = PORTAL_S) -> str:
    """Return the URL of the user's portal.

    Raises:
        NotACustomerError: Stripe does not know the user.
        BillingUnavailableError: there is no usable answer within `within_s` seconds.
    """
    try:
        async with asyncio.timeout(within_s):
            async with res.db.acquire() as conn:
                customer_id = await customers.stripe_customer_of(conn, user_id)
            if customer_id is not None:
                return await res.payments.open_portal(
                    customer_id, return_url=f"{res.settings.public_url}/subscription/returned"
                )
    except TimeoutError as exc:
        raise BillingUnavailableError(
            "Stripe did not answer in time; try again in a few seconds"
        ) from exc
    except CustomerGoneError:
        log.warning("customer_gone", user_id=str(user_id))  # the next purchase makes another
    raise NotACustomerError("you have never subscribed; start with POST /subscribe/pro")


async def find_portal(res: Resources, user_id: UUID, *, within_s: float) -> str | None:
    """Return the URL of the user's portal, None if there is none to be had in time."""
    try:
        return await open_portal(res, user_id, within_s=within_s)
    except (BillingUnavailableError, NotACustomerError):
        return None

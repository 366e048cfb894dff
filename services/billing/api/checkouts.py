"""Buying Pro over HTTP, and the pages that a browser comes back to."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse

from libs.common.errors import AccountRequiredError
from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from services.billing import pages
from services.billing.actions import checkouts
from services.billing.api.parameters import Res
from services.billing.errors import (
    AlreadySubscribedError,
    BillingUnavailableError,
    IntervalNotOfferedError,
    PaymentOverdueError,
    SubscriptionExistsError,
)
from services.billing.models import CheckoutOut, Interval

log = structlog.stdlib.get_logger()
router = APIRouter(tags=["billing"])


class SubscribeIn(Body):
    """What to buy; all of it may be left out.

    Attributes:
        interval: how often to pay for Pro.
    """

    interval: Interval = "month"


@router.post(
    "/subscribe/pro",
    status_code=201,
    responses={
        200: {"model": CheckoutOut, "description": "The session that is open already"},
        **problems(
            AccountRequiredError,
            AlreadySubscribedError,
            BillingUnavailableError,
            IntervalNotOfferedError,
            PaymentOverdueError,
            SubscriptionExistsError,
        ),
    },
)
async def subscribe_pro(
    user: CurrentUser,
    res: Res,
    response: Response,
    body: SubscribeIn | None = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> CheckoutOut:
    """Start the purchase of Pro: open `checkout_url` in a browser and pay there.

    A 409 holds `portal_url` if Stripe answers. Repeating it is safe with or without an
    `Idempotency-Key`: a user has one open session, which every call for the same interval returns
    until it is paid or expires.
    """
    del idempotency_key  # validated like everywhere; the session itself makes repeats harmless
    if user.guest:
        raise AccountRequiredError  # an account that nobody knows cannot be charged or restored
    interval = (body or SubscribeIn()).interval
    checkout, created = await checkouts.subscribe_pro(res, user.user_id, interval)
    response.status_code = 201 if created else 200
    return CheckoutOut(
        checkout_url=checkout.url, session_id=checkout.session_id, expires_at=checkout.expires_at
    )


@router.get("/subscription/complete", response_class=HTMLResponse)
async def complete_checkout(
    res: Res, session_id: Annotated[str, Query(pattern="^cs_[A-Za-z0-9_]{1,250}$")]
) -> HTMLResponse:
    """Tell a person who comes back from Stripe whether Pro is active; a page for browsers."""
    try:
        is_pro = await checkouts.complete_checkout(res, session_id)
    except (BillingUnavailableError, TimeoutError) as exc:
        # The payment is safe at Stripe, and the page asks again: no reason to frighten anyone.
        log.warning("completion_unknown", error=type(exc).__name__)
        is_pro = False
    return HTMLResponse(pages.PRO if is_pro else pages.WAITING, headers=pages.HEADERS)


@router.get("/subscription/cancelled", response_class=HTMLResponse)
async def cancelled_checkout() -> HTMLResponse:
    """Tell a person who left Stripe's page that nothing was paid; a page for browsers."""
    return HTMLResponse(pages.CANCELLED, headers=pages.HEADERS)


@router.get("/subscription/returned", response_class=HTMLResponse)
async def returned_from_portal() -> HTMLResponse:
    """Tell a person who comes back from the portal that it was heard; a page for browsers."""
    return HTMLResponse(pages.RETURNED, headers=pages.HEADERS)

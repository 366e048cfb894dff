"""What Stripe calls."""

from typing import Annotated

from fastapi import APIRouter, Header, Request

from services.billing.actions import webhooks
from services.billing.api.parameters import Res
from services.billing.models import Received

router = APIRouter(tags=["billing"])


@router.post("/webhook/stripe")
async def receive_stripe_event(
    request: Request, res: Res, stripe_signature: Annotated[str | None, Header()] = None
) -> Received:
    """Take an event from Stripe, signed with the endpoint's secret; repeats are welcome."""
    await webhooks.receive_stripe_event(res, await request.body(), stripe_signature)
    return Received()

"""What Stripe calls."""

from typing import Annotated

from fastapi import APIRouter, Header, Request

from libs.common.problems import problems
from services.billing.actions import webhooks
from services.billing.api.parameters import Res
from services.billing.errors import BadSignatureError, MalformedEventError, WebhookDisabledError
from services.billing.models import Received

router = APIRouter(tags=["billing"])
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["id", "type"]},
                "example": {"id": "evt_1", "object": "event", "type": "invoice.paid"},
            }
        },
    }
}
"""Stripe's event; its bytes are verified before they are read."""


@router.post(
    "/webhook/stripe",
    responses=problems(WebhookDisabledError, BadSignatureError, MalformedEventError),
    openapi_extra=_BODY,
)
async def receive_stripe_event(
    request: Request, res: Res, stripe_signature: Annotated[str | None, Header()] = None
) -> Received:
    """Take an event from Stripe, signed with the endpoint's secret; repeats are welcome."""
    await webhooks.receive_stripe_event(res, await request.body(), stripe_signature)
    return Received()

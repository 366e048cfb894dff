"""Taking what Stripe tells us."""

import structlog

from libs.common.clock import utc_now
from services.billing import payments
from services.billing.errors import WebhookDisabledError
from services.billing.resources import Resources
from services.billing.store import events

log = structlog.stdlib.get_logger()


async def receive_stripe_event(res: Resources, raw: bytes, signature: str | None) -> None:
    """Store a webhook's event, once, to be applied at once.

    Raises:
        WebhookDisabledError: no secret is set.
        BadSignatureError: Stripe did not sign these bytes lately.
        MalformedEventError: the body is no Stripe event.
    """
    setting = res.settings.stripe_webhook_secret
    listed = setting.get_secret_value().split(",") if setting else []
    secrets = [secret.strip() for secret in listed if secret.strip()]
    if not secrets:
        raise WebhookDisabledError("webhooks are off here; set STRIPE_WEBHOOK_SECRET")
    now = utc_now()
    event = payments.read_event(raw, signature, secrets=secrets, now=now)
    async with res.db.acquire() as conn:
        fresh = await events.insert_event(conn, event, at=now)
    log.info("stripe_event_received", event_id=event.id, type=event.type, fresh=fresh)
    if fresh:
        res.event_stored.set()

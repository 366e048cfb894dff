"""Events and the endpoints that hear of them."""

from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects import wire


def event(event_id: str, *, kind: str, data: JSON, created: int, request: JSON) -> JSON:
    """Return an event whose `data` is a snapshot, and `request` what caused it."""
    return {
        "id": event_id,
        "object": "event",
        "account": None,
        "api_version": wire.API_VERSION,
        "context": None,
        "created": created,
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": request,
        "type": kind,
    }


def endpoint(endpoint_id: str, *, url: str, secret: str, events: list[str], created: int) -> JSON:
    """Return an enabled endpoint; `events` are types, or `*` for all."""
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": wire.API_VERSION,
        "application": None,
        "created": created,
        "description": None,
        "enabled_events": events,
        "livemode": False,
        "metadata": {},
        "secret": secret,
        "status": "enabled",
        "url": url,
    }

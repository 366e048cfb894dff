"""https://docs.stripe.com/api/events and https://docs.stripe.com/api/webhook_endpoints."""

import secrets

from deploy.local.stripe import deliveries, lists
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects import webhook as objects
from deploy.local.stripe.objects.wire import new_id
from deploy.local.stripe.protocol import Call


def retrieve_event(call: Call) -> JSON:
    """Return an event with the number of endpoints that have yet to accept it."""
    call.params.only()
    event = call.account.get("event", call.ids["id"])
    return event | {"pending_webhooks": deliveries.pending_count(call.account.store, event["id"])}


def list_events(call: Call) -> JSON:
    """List events of a `type`, which may end in `*`, or of one of the `types`."""
    params = call.params.only("type", "types", *lists.PAGE)
    one, several = params.text("type"), params.texts("types")
    stem = one.removesuffix("*") if one else ""

    def keep(event: JSON) -> bool:
        if several and event["type"] not in several:
            return False
        if one is not None and one.endswith("*"):
            return str(event["type"]).startswith(stem)
        return one is None or bool(event["type"] == one)

    return lists.page(call, "event", "/v1/events", keep=keep)


def create_endpoint(call: Call) -> JSON:
    """Make an endpoint; only this answer shows its secret."""
    params = call.params.only(
        "description", "metadata", "api_version", required=("url", "enabled_events")
    )
    body = objects.endpoint(
        new_id("we"),
        url=params.url("url") or "",
        secret=f"whsec_{secrets.token_urlsafe(24)}",
        events=params.texts("enabled_events"),
        created=call.account.now,
    )
    body["description"] = params.text("description")
    body["metadata"] = params.metadata()
    call.account.save(body)
    return body


def retrieve_endpoint(call: Call) -> JSON:
    """Return an endpoint without its secret."""
    call.params.only()
    return _without_secret(call.account.get("webhook_endpoint", call.ids["id"]))


def delete_endpoint(call: Call) -> JSON:
    """Delete an endpoint; what still waits for it is given up."""
    call.params.only()
    body = call.account.get("webhook_endpoint", call.ids["id"])
    call.account.store.delete("webhook_endpoint", body["id"])
    deliveries.forget(call.account.store, body["id"])
    return {"id": body["id"], "object": "webhook_endpoint", "deleted": True}


def list_endpoints(call: Call) -> JSON:
    """List endpoints without their secrets."""
    call.params.only(*lists.PAGE)
    found = lists.page(call, "webhook_endpoint", "/v1/webhook_endpoints")
    found["data"] = [_without_secret(body) for body in found["data"]]
    return found


def _without_secret(body: JSON) -> JSON:
    return {key: value for key, value in body.items() if key != "secret"}

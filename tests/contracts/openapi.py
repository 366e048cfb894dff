"""The public OpenAPI document, put together without any server."""

from importlib import import_module
from typing import Any, cast

from services.gateway.app import Gateway
from services.gateway.openapi import complete
from services.gateway.routes import SERVICES
from tests.contracts.tree import SETTINGS, build


def public_document() -> dict[str, Any]:
    """Return what the gateway serves at `/openapi.json` once every service has answered."""
    documents = {service: _app(service).openapi() for service in SERVICES}
    gateway = cast("Gateway", _app("gateway"))
    return complete(gateway.own_document(), documents)


def _app(service: str) -> Any:
    settings = build(service, environment="development", **SETTINGS[service])
    return import_module(f"services.{service}.app").create_app(settings)

"""Where things are in the repository."""

from importlib import import_module
from pathlib import Path
from typing import Any

from libs.common.settings import MIN_SECRET_LENGTH, BaseServiceSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("ai", "auth", "billing", "chat", "gateway")
SCHEMAS = ("ai", "auth", "billing", "chat")
EVENTS = ROOT / "docs/events"
ERRORS = ROOT / "docs/api/errors.md"
ASYNCAPI = ROOT / "docs/asyncapi.json"
ENV_EXAMPLE = ROOT / ".env.example"
POSTMAN = ROOT / "Thoughtflow.postman_collection.json"

STRONG = "x" * MIN_SECRET_LENGTH
GOOD = {
    "redis_url": f"redis://:{STRONG}@127.0.0.1:6379/0",
    "jwks_url": "http://127.0.0.1:8001/.well-known/jwks.json",
}
WITH_DATABASE = GOOD | {
    "database_url": f"postgresql://role:{STRONG}@127.0.0.1:5432/thoughtflow",
    "rabbitmq_url": f"amqp://role:{STRONG}@127.0.0.1:5672/",
}
STRIPE = {
    "stripe_secret_key": STRONG,
    "stripe_webhook_secret": STRONG,
    "stripe_pro_price_id": "price_1",
}
URLS = {f"{service}_url": "http://127.0.0.1:8001" for service in SCHEMAS}
SETTINGS: dict[str, dict[str, str]] = {
    "ai": WITH_DATABASE | {"gemini_api_key": STRONG},
    "auth": WITH_DATABASE | {"auth_secret": STRONG, "otp_sender": "mock"},
    "billing": WITH_DATABASE | STRIPE | {"public_url": "http://127.0.0.1:8000"},
    "chat": WITH_DATABASE,
    "gateway": GOOD | URLS | {"rabbitmq_url": f"amqp://role:{STRONG}@127.0.0.1:5672/"},
}
"""What each service cannot start without."""


def settings_class(service: str) -> type[BaseServiceSettings]:
    """Return what `service` reads from its environment."""
    found: type[BaseServiceSettings] = import_module(f"services.{service}.settings").Settings
    return found


def build(service: str, **values: str) -> BaseServiceSettings:
    """Return the settings of `service` from `values`, without this machine's `.env`."""
    arguments: dict[str, Any] = {**values, "_env_file": None}
    return settings_class(service)(**arguments)

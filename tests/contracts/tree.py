"""Where things are in the repository."""

from importlib import import_module
from pathlib import Path
from typing import Any

from libs.common.settings import BaseServiceSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("ai", "auth", "billing", "chat", "gateway")
SCHEMAS = ("ai", "auth", "billing", "chat")
EVENTS = ROOT / "docs/events"
ERRORS = ROOT / "docs/api/errors.md"
ENV_EXAMPLE = ROOT / ".env.example"


def settings_class(service: str) -> type[BaseServiceSettings]:
    """Return what `service` reads from its environment."""
    found: type[BaseServiceSettings] = import_module(f"services.{service}.settings").Settings
    return found


def build(service: str, **values: str) -> BaseServiceSettings:
    """Return the settings of `service` from `values`, without this machine's `.env`."""
    arguments: dict[str, Any] = {**values, "_env_file": None}
    return settings_class(service)(**arguments)

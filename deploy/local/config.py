"""What the user asked for: the environment and `.env`, checked."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("auth", "chat", "ai", "billing", "gateway")
BLOCK = 100  # ports from the gateway's on
# A line of .env.example that nobody filled in: `change-me`, `price_change-me`, `user:change-me@`.
PLACEHOLDER = re.compile(r"(^|[_:])change-me")
HIGHEST = 32767 - 2 * BLOCK  # room for the block, and for what moves out of it


class ConfigError(ValueError):
    """A setting cannot be used; the message names it and says what it may be."""


@dataclass(frozen=True)
class Config:
    """How to run the stack.

    Attributes:
        home: folder of all state.
        first_port: the gateway's; the block of 100 from there on is the stack's.
        replicas: how many of each service, at least 1.
        environment: what the user set and the services get.
    """

    home: Path
    first_port: int
    replicas: Mapping[str, int]
    environment: Mapping[str, str]

    def instances(self) -> list[tuple[str, str]]:
        """Return (name of the process, service), the gateways last; the second chat is `chat-2`."""
        return [
            (service if number == 1 else f"{service}-{number}", service)
            for service in SERVICES
            for number in range(1, self.replicas[service] + 1)
        ]

    @property
    def emulates_gemini(self) -> bool:
        """Whether the user gave no Gemini to talk to."""
        return not {"GEMINI_API_KEY", "GEMINI_BASE_URL"} & self.environment.keys()

    @property
    def emulates_stripe(self) -> bool:
        """Whether the user gave no Stripe to talk to."""
        return not {"STRIPE_SECRET_KEY", "STRIPE_API_BASE"} & self.environment.keys()


def read_config(environ: Mapping[str, str], dotenv: Path = ROOT / ".env") -> Config:
    """Return the configuration; `environ` wins over the file.

    An empty value is none, and so is one of `.env.example` that still has to be changed.

    Raises:
        ConfigError: a port or a number of replicas cannot be used.
    """
    both = {**dotenv_values(dotenv), **environ}
    values = {name: value for name, value in both.items() if _is_set(value)}
    return Config(
        home=Path(values.get("THOUGHTFLOW_HOME", ROOT / ".thoughtflow")).expanduser().absolute(),
        first_port=_number(values, "THOUGHTFLOW_PORT", default=8000, low=1024, high=HIGHEST),
        replicas={
            service: _number(values, _plural(service), default=1, low=1, high=9)
            for service in SERVICES
        },
        environment=values,
    )


def current_config() -> Config:
    """Return the configuration of this process.

    Raises:
        ConfigError: see `read_config`.
    """
    return read_config(os.environ)


def _is_set(value: str | None) -> TypeGuard[str]:
    return bool(value) and not PLACEHOLDER.search(str(value))


def _plural(service: str) -> str:
    return f"{service.upper()}S"


def _number(values: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = values.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ConfigError(f"{name} is {text!r}: it must be a number from {low} to {high}")
    return int(text)

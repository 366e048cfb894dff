"""Settings that every service reads from its environment, and how a bad one ends the process."""

import sys
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIN_SECRET_LENGTH = 16
"""Characters below which production refuses a secret; 16 random ones are out of guessing reach."""

_KNOWN_SECRETS = ("changeme", "sk_test_emulator", "guest", "thoughtflow", "secret")


def split_names(text: str) -> tuple[str, ...]:
    """Return the comma-separated names, without blanks."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


class BaseServiceSettings(BaseSettings):
    """Environment of any process; names are the upper-cased field names.

    Attributes:
        environment: `production` refuses every secret that is known, short or for tests.
        host: address to listen on.
        port: TCP port to listen on.
        log_level: lowest level that is written.
        otel_exporter_otlp_endpoint: OpenTelemetry collector that gets the spans; empty for none.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = "production"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    otel_exporter_otlp_endpoint: str = Field(default="", pattern="^(https?://.*)?$")
    redis_url: str = Field(pattern="^rediss?://")
    jwks_url: str = Field(pattern="^https?://")

    @model_validator(mode="after")
    def _refuse_known_secrets(self) -> Self:
        if self.environment != "production":
            return self
        for name, value in self:
            if isinstance(value, SecretStr):
                _ensure_strong(name, value.get_secret_value())
            elif isinstance(value, str) and name in {"database_url", "rabbitmq_url", "redis_url"}:
                _ensure_strong(name, urlsplit(value).password or "")
        return self


class CommonSettings(BaseServiceSettings):
    """Environment of a service that owns a schema and talks over RabbitMQ.

    Attributes:
        database_url: of the service's own role; it sees only the service's schema.
        rabbitmq_url: virtual host and user of the service.
        db_pool_size: PostgreSQL connections at most, per process.
        prefetch: deliveries that one process handles at the same time.
    """

    database_url: str = Field(pattern="^postgresql://")
    rabbitmq_url: str = Field(pattern="^amqps?://")
    db_pool_size: int = Field(default=10, ge=2, le=100)
    prefetch: int = Field(default=20, ge=1, le=1000)


def _ensure_strong(name: str, secret: str) -> None:
    if len(secret) < MIN_SECRET_LENGTH or secret in _KNOWN_SECRETS or "change-me" in secret:
        raise ValueError(
            f"{name.upper()} holds a known or short secret; production wants at least "
            f"{MIN_SECRET_LENGTH} random characters"
        )


SettingsT = TypeVar("SettingsT", bound=BaseServiceSettings)


def load(settings_class: type[SettingsT]) -> SettingsT:
    """Read the settings; where one is missing or malformed, say which in a line and exit with 2."""
    try:
        return settings_class()
    except ValidationError as exc:
        error = exc.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in error["loc"]).upper()
        message = (
            "is not set"
            if error["type"] == "missing"
            else error["msg"].removeprefix("Value error, ")
        )
        print(f"setting {name}: {message}".replace("setting : ", "setting "), file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None

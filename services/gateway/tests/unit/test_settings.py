from typing import Any

import pytest
from pydantic import ValidationError

from services.gateway.settings import Settings, parse_addresses, parse_origins

URLS: dict[str, Any] = dict.fromkeys(("auth_url", "chat_url", "ai_url", "billing_url"), "http://a")
OTHERS: dict[str, Any] = {
    "environment": "development",
    "redis_url": "redis://a",
    "jwks_url": "http://a",
    "rabbitmq_url": "amqp://a",
}


def test_several_addresses_keep_their_order() -> None:
    assert parse_addresses("http://a:1, http://b") == (("a", 1), ("b", 80))


@pytest.mark.parametrize("urls", ["", "https://a", "a:1", "http://", "http://a/path", "http://a,"])
def test_an_address_that_cannot_be_used_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        parse_addresses(urls)


def test_origins_are_what_browsers_send() -> None:
    assert parse_origins(" https://app.example,http://localhost:5173, ") == (
        "https://app.example",
        "http://localhost:5173",
    )


@pytest.mark.parametrize(
    "text", ["*", "app.example", "https://a/", "https://a/b", "ftp://a", "https://", "https://u@a"]
)
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="https://host"):
        parse_origins(text)


def test_a_silent_stream_beats_every_30_seconds_at_least() -> None:
    """S5: whatever the operator sets."""
    assert Settings(_env_file=None, **URLS, **OTHERS).heartbeat_s <= 30
    with pytest.raises(ValidationError, match="heartbeat_s"):
        Settings(_env_file=None, **URLS, **OTHERS, heartbeat_s=30.1)

"""The gateway's environment."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from libs.common.settings import BaseServiceSettings

Network = IPv4Network | IPv6Network
Address = tuple[str, int]
"""Host and TCP port."""


def parse_addresses(urls: str) -> tuple[Address, ...]:
    """Return where the comma-separated `http://host:port` point to, in their order.

    Raises:
        ValueError: one has another scheme, no host, or a path.
    """
    addresses = []
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError("give addresses as http://host:port, separated by commas")
        addresses.append((parts.hostname, parts.port or 80))
    return tuple(addresses)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the comma-separated CIDRs; raises ValueError where one is malformed."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the comma-separated origins as browsers send them.

    Raises:
        ValueError: one is no scheme://host or scheme://host:port; `*` is none.
    """
    origins = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if origin != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in {"http", "https"}:
            raise ValueError("give origins as https://host or https://host:port, without a path")
        if not parts.hostname or parts.username is not None:
            raise ValueError("give origins as https://host or https://host:port, without a user")
    return origins


def _checked_addresses(urls: str) -> str:
    parse_addresses(urls)
    return urls


def _checked_origins(text: str) -> str:
    parse_origins(text)
    return text


def _checked_networks(text: str) -> str:
    parse_networks(text)
    return text


Urls = Annotated[str, AfterValidator(_checked_addresses)]


class Settings(BaseServiceSettings):
    """Environment of the gateway; names are the upper-cased field names.

    Attributes:
        auth_url: where auth listens; several addresses, separated by commas, take turns. The same
            for `chat_url`, `ai_url` and `billing_url`.
        allowed_origins: comma-separated origins whose web pages may call the API in a browser.
        external_issuer: `iss` of the other issuer's tokens that auth accepts; empty for none.
        trusted_proxies: comma-separated CIDRs whose `X-Forwarded-For` is believed.
        user_requests_per_minute: lasting rate of a user; 0 switches the limit off.
        user_burst: requests that a user who was idle may send at once.
        anonymous_requests_per_minute: the same for an IP address (IPv6: its /64) without a login.
        anonymous_burst: the same for an IP address.
        upstream_connections: connections at most to one address of a service.
        heartbeat_s: seconds between two signs of life on a silent stream.
        recheck_s: seconds of silence after which a stream asks chat whether the reply has ended.
        stream_max_age_s: seconds after which an open stream is told to connect again.
        metrics_port: TCP port of /metrics, for Prometheus and not for clients; 0 serves none.
        rabbitmq_url: virtual host and user of the gateway.
        prefetch: deliveries that one process handles at the same time.
    """

    auth_url: Urls
    chat_url: Urls
    ai_url: Urls
    billing_url: Urls
    allowed_origins: Annotated[str, AfterValidator(_checked_origins)] = ""
    external_issuer: str = ""
    trusted_proxies: Annotated[str, AfterValidator(_checked_networks)] = ""
    user_requests_per_minute: int = Field(default=600, ge=0, le=1_000_000)
    user_burst: int = Field(default=100, ge=1, le=100_000)
    anonymous_requests_per_minute: int = Field(default=120, ge=0, le=1_000_000)
    anonymous_burst: int = Field(default=40, ge=1, le=100_000)
    upstream_connections: int = Field(default=200, ge=1, le=10_000)
    heartbeat_s: float = Field(default=15, gt=0, le=30)
    recheck_s: float = Field(default=10, gt=0, le=60)
    stream_max_age_s: float = Field(default=3600, gt=0, le=86400)
    metrics_port: int = Field(default=0, ge=0, le=65535)
    rabbitmq_url: str = Field(pattern="^amqps?://")
    prefetch: int = Field(default=20, ge=1, le=1000)

"""What the gateway holds open while it runs; built once, closed in reverse order."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.common.background import every
from libs.common.identity import TokenVerifier
from libs.common.multiplexed import MultiplexedRedis
from services.gateway.cors import Cors
from services.gateway.credentials import Credentials
from services.gateway.feed import FeedStore
from services.gateway.grants import Grants
from services.gateway.hub import Hub
from services.gateway.lifetime import Draining, Sessions
from services.gateway.limits import Limit, Limiter
from services.gateway.openapi import REFRESH_S, MergedDocument
from services.gateway.presence import Presence
from services.gateway.revocations import hearing
from services.gateway.routes import Service
from services.gateway.rules import ClientAddresses
from services.gateway.settings import Settings, parse_addresses, parse_networks, parse_origins
from services.gateway.store import AdmissionStore, RevocationStore
from services.gateway.tickets import TicketStore
from services.gateway.upstream import Upstream

REDIS_TIMEOUT_S = 1.0
"""Seconds for an answer; above what a busy event loop lags behind, as a timeout lets all pass."""

_REDIS_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that serving a request may use."""

    settings: Settings
    redis: Redis
    upstreams: Mapping[Service, Upstream]
    credentials: Credentials
    limiter: Limiter
    grants: Grants
    clients: ClientAddresses
    hub: Hub
    feed: FeedStore
    tickets: TicketStore
    sockets: Presence
    draining: Draining
    sessions: Sessions
    revocations: RevocationStore
    document: MergedDocument
    cors: Cors


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open Redis and the services' pools, start the hub; close them on exit."""
    async with AsyncExitStack() as stack:
        redis = _redis(settings, timeout_s=REDIS_TIMEOUT_S)
        stack.push_async_callback(redis.aclose)
        shared = MultiplexedRedis(settings.redis_url, timeout_s=REDIS_TIMEOUT_S)
        stack.push_async_callback(shared.aclose)
        subscriber = _redis(settings, timeout_s=None)
        stack.push_async_callback(subscriber.aclose)
        upstreams = _upstreams(settings)
        for upstream in upstreams.values():
            stack.callback(upstream.close)
        hub = Hub(subscriber)
        await stack.enter_async_context(hub.running())
        sessions, revocations = Sessions(), RevocationStore(shared)
        await stack.enter_async_context(hearing(hub, revocations, sessions))
        document = MergedDocument()
        await stack.enter_async_context(document.loading(upstreams))
        await stack.enter_async_context(every(REFRESH_S, lambda: document.refresh(upstreams)))
        admission = AdmissionStore(shared)
        grants = Grants(admission, upstreams["billing"])
        stack.push_async_callback(grants.aclose)
        verifier = TokenVerifier(settings.jwks_url)
        limiter = _limiter(settings, admission, sessions, grants)
        yield Resources(
            settings,
            redis,
            upstreams,
            Credentials(
                upstreams["auth"],
                verifier,
                limiter,
                sessions,
                external_issuer=settings.external_issuer,
            ),
            limiter,
            grants,
            ClientAddresses(parse_networks(settings.trusted_proxies)),
            hub,
            FeedStore(redis, shared),
            TicketStore(redis),
            Presence(),
            Draining(),
            sessions,
            revocations,
            document,
            Cors(parse_origins(settings.allowed_origins)),
        )


def _redis(settings: Settings, *, timeout_s: float | None) -> Redis:
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        max_connections=_REDIS_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),  # a request must not wait for a second try
    )
    return Redis.from_pool(pool)


def _upstreams(settings: Settings) -> dict[Service, Upstream]:
    urls: dict[Service, str] = {
        "auth": settings.auth_url,
        "chat": settings.chat_url,
        "ai": settings.ai_url,
        "billing": settings.billing_url,
    }
    return {
        service: Upstream(parse_addresses(url), connections=settings.upstream_connections)
        for service, url in urls.items()
    }


def _limiter(
    settings: Settings, admission: AdmissionStore, sessions: Sessions, grants: Grants
) -> Limiter:
    return Limiter(
        admission,
        sessions,
        user=Limit("user", settings.user_requests_per_minute, settings.user_burst),
        anonymous=Limit(
            "anonymous", settings.anonymous_requests_per_minute, settings.anonymous_burst
        ),
        on_unknown=grants.look_up,
    )

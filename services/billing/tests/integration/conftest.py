"""Billing and the Stripe emulator, each on a port of its own, so that webhooks travel."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from typing_extensions import override

from deploy.local.stripe.app import create_app as create_emulator
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import SubscriptionChanged
from libs.common.identity import Identity, TokenVerifier
from libs.common.topology import queue
from services.billing import applier
from services.billing.actions import checkouts, duplicates, support, syncing, timeline
from services.billing.app import create_app
from services.billing.settings import Settings
from services.billing.tests.integration.system import SECRET, Billing, Clock, Emulator
from tests.ports import free_port


class _Server(uvicorn.Server):
    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are pytest's


@asynccontextmanager
async def serving(app: ASGIApp, port: int) -> AsyncIterator[str]:
    """Serve `app` in this event loop while the block runs; yields its URL."""
    config = uvicorn.Config(
        app, port=port, log_config=None, lifespan="on", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


class TokensAreUserIds(TokenVerifier):
    """Signatures of tokens are tested in libs."""

    @override
    async def verify(self, token: str) -> Identity:
        return Identity(UUID(token), new_id(), "user", 2**40)


@pytest.fixture
def ports() -> tuple[int, int]:
    """Of billing and of the emulator."""
    return free_port(), free_port()


@pytest.fixture
async def emulator(ports: tuple[int, int]) -> AsyncIterator[Emulator]:
    own, port = ports
    stopping = asyncio.Event()
    app = create_emulator(
        base_url=f"http://127.0.0.1:{port}",
        webhook_url=f"http://127.0.0.1:{own}/webhook/stripe",
        webhook_secret=SECRET,
        stopping=stopping.is_set,
    )
    async with serving(app, port) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        yield Emulator(url, client)
        stopping.set()


@pytest.fixture
def settings(
    database_urls: dict[str, str], rabbitmq_url: str, ports: tuple[int, int], emulator: Emulator
) -> Settings:
    given: dict[str, Any] = {
        "_env_file": None,
        "environment": "development",
        "redis_url": "redis://unused",
        "jwks_url": "http://unused",
        "database_url": database_urls["billing"],
        "rabbitmq_url": rabbitmq_url,
        "stripe_secret_key": "sk_test_anything",
        "stripe_api_base": emulator.url,
        "stripe_webhook_secret": f"whsec_the_next_one, {SECRET}",
        "stripe_pro_price_id": "price_pro_monthly",
        "public_url": f"http://127.0.0.1:{ports[0]}",
    }
    return Settings(**given)


@pytest.fixture
async def app(settings: Settings, conn: Connection) -> FastAPI:
    """The service, not yet started, over emptied tables."""
    return create_app(settings)


@pytest.fixture
async def billing(app: FastAPI, ports: tuple[int, int]) -> AsyncIterator[Billing]:
    async with serving(app, ports[0]) as url, httpx2.AsyncClient(base_url=url, timeout=15) as http:
        app.state.verifier = TokensAreUserIds("http://unused")
        res = app.state.resources
        announced = await res.brokers.publish.declare_queue(queue("chat", SubscriptionChanged))
        await announced.purge()
        yield Billing(http, res, announced)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What billing takes for the time; signatures of webhooks follow the real one."""
    clock = Clock()
    for module in (applier, checkouts, duplicates, support, syncing, timeline):
        monkeypatch.setattr(module, "utc_now", clock)
    return clock


@pytest.fixture
def user_id() -> UUID:
    return new_id()

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis

from deploy.local.gemini.answers import Pace
from deploy.local.gemini.app import Emulator
from deploy.local.gemini.app import create_app as create_gemini
from libs.common import outbox, topology
from libs.common.broker import make_brokers
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Event
from libs.common.testing import TokenIssuer
from services.ai.app import create_app
from services.ai.resources import Resources
from services.ai.settings import Settings
from services.ai.store import generations


@pytest.fixture(scope="session")
async def gemini_url() -> AsyncIterator[str]:
    """The Gemini emulator, without delays."""
    listener = socket.create_server(("127.0.0.1", 0))
    emulator = Emulator(Pace(first_token_s=0, chunk_s=0), log_size=1000)
    config = uvicorn.Config(create_gemini(emulator), log_level="critical", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await task
    listener.close()


@pytest.fixture
async def gemini(gemini_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The emulator's control endpoints, with no faults ordered and an empty log."""
    async with httpx2.AsyncClient(base_url=gemini_url) as client:
        await client.delete("/_emulator/faults")
        await client.delete("/_emulator/requests")
        yield client


@pytest.fixture
def settings(
    database_urls: dict[str, str], rabbitmq_url: str, redis_url: str, gemini_url: str
) -> Settings:
    values: dict[str, Any] = {
        "environment": "development",
        "database_url": database_urls["ai"],
        "rabbitmq_url": rabbitmq_url,
        "redis_url": redis_url,
        "jwks_url": "http://unused",
        "gemini_api_key": "any",
        "gemini_base_url": gemini_url,
        "first_token_timeout_s": 2,  # less fails on a busy machine
        "silence_timeout_s": 2,
    }
    return Settings(**values)


@pytest.fixture
async def no_messages(rabbitmq_url: str) -> None:
    """Takes away what other tests left for ai, waiting or delayed."""
    brokers = make_brokers(rabbitmq_url, service="ai", prefetch=1)
    await brokers.publish.start()
    await topology.declare(brokers.publish)
    work = [topology.queue("ai", event) for event, who in topology.CONSUMERS.items() if "ai" in who]
    delays = [topology._delay_queue(seconds) for seconds in topology.DELAYS_S]
    for queue in (*work, *delays):
        await (await brokers.publish.declare_queue(queue)).purge()
    await brokers.publish.stop()


@pytest.fixture
async def app(
    conn: Connection, redis: Redis, no_messages: None, settings: Settings
) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(app: FastAPI, user_id: UUID) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that is logged in as `user_id`."""
    issuer = TokenIssuer()
    app.state.verifier = issuer.verifier()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://ai",
        headers=issuer.authorization(user_id),
    ) as client:
        yield client


@pytest.fixture
def res(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


@pytest.fixture
def changed(res: Resources) -> Callable[..., Resources]:
    """Return `res` as if some of its settings were others."""

    def change(**values: Any) -> Resources:
        return replace(res, settings=res.settings.model_copy(update=values))

    return change


@pytest.fixture
def announced(res: Resources, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Every event that the outbox took, in order."""
    taken: list[Event] = []
    add, end = outbox.add, generations.end_generation

    async def add_and_note(conn: Connection, event: Event) -> None:
        await add(conn, event)
        taken.append(event)

    async def end_and_note(
        conn: Connection, event: generations.End, *args: Any, **options: Any
    ) -> outbox.Stored | None:
        stored = await end(conn, event, *args, **options)
        if stored is not None:
            taken.append(event)
        return stored

    monkeypatch.setattr(outbox, "add", add_and_note)
    monkeypatch.setattr(generations, "end_generation", end_and_note)
    return taken


@pytest.fixture
async def other(res: Resources, settings: Settings) -> AsyncIterator[Resources]:
    """A second worker beside `res`."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app.state.resources

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.outbox import Relay
from libs.common.testing import TokenIssuer
from services.chat.app import create_app
from services.chat.settings import Settings


@pytest.fixture(scope="session")
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
def backlogs() -> dict[str, Any]:
    """No post is refused for what waits: no ai takes what these tests announce."""
    return {"basic_backlog": 0, "pro_backlog": 0}


@pytest.fixture
async def app(
    backlogs: dict[str, Any],
    conn: Connection,
    database_urls: dict[str, str],
    rabbitmq_url: str,
    redis: Redis,
    redis_url: str,
    issuer: TokenIssuer,
) -> AsyncIterator[FastAPI]:
    settings = Settings(
        environment="development",
        database_url=database_urls["chat"],
        rabbitmq_url=rabbitmq_url,
        redis_url=redis_url,
        jwks_url="http://unused",
        basic_messages_per_day=5,
        **backlogs,
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        app.state.verifier = issuer.verifier()
        yield app


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    app: FastAPI, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that is logged in as `user_id`."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://chat",
        headers=issuer.authorization(user_id),
    ) as client:
        yield client


@pytest.fixture
async def room_id(client: httpx2.AsyncClient) -> UUID:
    response = await client.post("/chatroom", json={"title": "Tea"})
    assert response.status_code == 201, response.text
    return UUID(response.json()["id"])


@pytest.fixture
def kept_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is published: what a test announces can be read in the outbox.

    Ask for it before `app`, whose relay it holds.
    """

    async def publish_nothing(_: Relay) -> int:
        return 0

    def send_nothing(_: Relay, _rows: object) -> None:
        pass

    monkeypatch.setattr(Relay, "publish_pending", publish_nothing)
    monkeypatch.setattr(Relay, "send", send_nothing)

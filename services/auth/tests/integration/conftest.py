from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from libs.common.db import Connection
from services.auth.app import create_app
from services.auth.settings import Settings
from services.auth.tests.integration.person import SECRET, Person


@pytest.fixture
def settings(database_urls: dict[str, str], rabbitmq_url: str, redis_url: str) -> Settings:
    return Settings(
        environment="development",
        database_url=database_urls["auth"],
        rabbitmq_url=rabbitmq_url,
        redis_url=redis_url,
        jwks_url="http://127.0.0.1:1/unused",
        auth_secret=SecretStr(SECRET),
        otp_sender="mock",
    )


@pytest.fixture
async def app(settings: Settings, conn: Connection) -> AsyncIterator[FastAPI]:
    """The running service, on the emptied schema that `conn` sees."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://auth") as client:
        yield client


@pytest.fixture
def ada(client: httpx2.AsyncClient) -> Person:
    return Person(client)

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from libs.common.db import Connection
from services.auth.app import create_app
from services.auth.settings import Settings
from services.auth.tests.integration.mailbox import Mailbox, open_mailbox
from services.auth.tests.integration.other_issuer import OtherIssuer, open_issuer
from services.auth.tests.integration.person import SECRET, Person
from services.auth.tests.integration.twilio_api import ACCOUNT, TOKEN, TwilioApi, open_twilio


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
    async with client_of(app) as client:
        yield client


@pytest.fixture
def ada(client: httpx2.AsyncClient) -> Person:
    return Person(client)


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioApi]:
    async with open_twilio() as api:
        yield api


@pytest.fixture
def real_settings(settings: Settings, mailbox: Mailbox, twilio: TwilioApi) -> Settings:
    """Codes leave by e-mail and SMS; the limits of networks, which are others' subject, are off."""
    changes = {
        "otp_sender": "smtp,twilio",
        "smtp_url": SecretStr(mailbox.url),
        "smtp_from": "Thoughtflow <codes@example.org>",
        "twilio_account_sid": ACCOUNT,
        "twilio_auth_token": SecretStr(TOKEN),
        "twilio_from": "+15005550006",
        "twilio_api_base": twilio.url,
        "address_sends_per_hour": 0,
    }
    return settings.model_copy(update=changes)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """Run auth with `settings`."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://auth")


@pytest.fixture
async def real_app(real_settings: Settings, conn: Connection) -> AsyncIterator[FastAPI]:
    """An auth that really sends."""
    app = create_app(real_settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def real_client(real_app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(real_app) as client:
        yield client


@pytest.fixture
async def issuer() -> AsyncIterator[OtherIssuer]:
    """An issuer that a test's `settings` may trust, see `other_issuer.configured`."""
    async with open_issuer() as issuer:
        yield issuer

"""Ai's composition root: the only module that knows every other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from libs.common import inbox
from libs.common.http import create_service, metrics_router
from libs.common.identity import TokenVerifier
from services.ai import api, consumers
from services.ai.resources import open_resources
from services.ai.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the service; its work comes over RabbitMQ."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as res:
            app.state.resources = res
            app.state.verifier = TokenVerifier(settings.jwks_url)
            app.state.keys_may_write = True
            app.state.probes = {
                "postgres": lambda: res.db.fetchval("SELECT 1"),
                "rabbitmq": res.brokers.ask,
            }
            res.brokers.consume.include_router(consumers.make_router(res))
            async with res.brokers.running(), res.relay.running(), inbox.purging(res.db):
                yield

    return create_service("Thoughtflow ai", lifespan=lifespan, routers=[api.router, metrics_router])

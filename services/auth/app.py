"""Auth, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from libs.common import inbox
from libs.common.background import every
from libs.common.http import create_service, metrics_router
from services.auth import consumers
from services.auth.actions import housekeeping, keys
from services.auth.api import ROUTERS
from services.auth.resources import open_resources
from services.auth.settings import Settings
from services.auth.tokens import LocalVerifier

HOUSEKEEPING_INTERVAL_S = 60
KEYS_INTERVAL_S = 60


def create_app(settings: Settings) -> FastAPI:
    """Return the service; leaving its lifespan stops the relay, drains handlers, closes pools."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as res:
            app.state.resources = res
            app.state.verifier = LocalVerifier(res.keyring)
            app.state.probes = {
                "postgres": lambda: res.db.execute("SELECT 1"),
                "rabbitmq": res.brokers.ask,
            }
            res.brokers.consume.include_router(consumers.make_router(res))
            async with (
                res.brokers.running(),
                res.relay.running(),
                res.courier.running(),
                inbox.purging(res.db),
                every(HOUSEKEEPING_INTERVAL_S, lambda: housekeeping.delete_stale(res)),
                every(KEYS_INTERVAL_S, lambda: keys.maintain(res)),
            ):
                yield

    return create_service("Thoughtflow auth", lifespan=lifespan, routers=[*ROUTERS, metrics_router])

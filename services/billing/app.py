"""Wiring of billing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from libs.common import inbox
from libs.common.background import every
from libs.common.db import Pool
from libs.common.http import create_service, metrics_router
from libs.common.identity import TokenVerifier
from services.billing import consumers
from services.billing.actions import syncing
from services.billing.api import ROUTERS
from services.billing.applier import Applier
from services.billing.resources import open_resources
from services.billing.settings import Settings
from services.billing.store import customers

GRANTS_INTERVAL_S = 1.0
"""How late the beginning or the end of a grant may be announced."""


def create_app(settings: Settings) -> FastAPI:
    """Return the service; it connects when its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as res:
            app.state.resources = res
            app.state.verifier = TokenVerifier(settings.jwks_url)
            app.state.probes = {
                "postgres": lambda: _ping(res.db),
                "rabbitmq": res.brokers.ask,
            }
            res.brokers.consume.include_router(consumers.make_router(res))
            async with (
                res.brokers.running(),
                res.relay.running(),
                inbox.purging(res.db),
                every(GRANTS_INTERVAL_S, lambda: syncing.announce_due(res)),
                Applier(res).running(),
            ):
                yield

    return create_service(
        "Thoughtflow billing", lifespan=lifespan, routers=[*ROUTERS, metrics_router]
    )


async def _ping(db: Pool) -> None:
    async with db.acquire() as conn:
        await customers.ping(conn)

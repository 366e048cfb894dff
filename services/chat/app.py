"""Chat's composition root: the only module that knows every other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from libs.common import inbox
from libs.common.background import every
from libs.common.http import create_service, metrics_router
from libs.common.identity import TokenVerifier
from services.chat import consumers
from services.chat.actions import completions, replies
from services.chat.api import ROUTERS
from services.chat.resources import open_resources
from services.chat.settings import Settings

BACKLOG_INTERVAL_S = 2
DEAD_LETTERS_INTERVAL_S = 10
SWEEP_INTERVAL_S = 15
HIDDEN_SWEEP_INTERVAL_S = 600


def create_app(settings: Settings) -> FastAPI:
    """Return the service; leaving its lifespan stops the relay, then handlers, then closes."""

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
            async with (
                res.brokers.running(),
                res.relay.running(),
                inbox.purging(res.db),
                every(BACKLOG_INTERVAL_S, res.backlog.measure),
                every(DEAD_LETTERS_INTERVAL_S, res.backlog.measure_dead_letters),
                every(SWEEP_INTERVAL_S, lambda: replies.fail_overdue_replies(res)),
                every(HIDDEN_SWEEP_INTERVAL_S, lambda: completions.delete_old_rooms(res)),
            ):
                yield

    return create_service("Thoughtflow chat", lifespan=lifespan, routers=[*ROUTERS, metrics_router])

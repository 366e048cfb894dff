"""What ai holds open while it runs; built once, closed in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from libs.common.broker import Brokers, make_brokers
from libs.common.db import Pool, open_pool
from libs.common.multiplexed import MultiplexedRedis
from libs.common.outbox import Relay
from libs.common.replies import ReplyWriter
from services.ai.breaker import Breakers
from services.ai.model import Gemini, Model
from services.ai.settings import Settings
from services.ai.worker import Worker, alive

REDIS_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything an action may use; passed explicitly, never imported."""

    settings: Settings
    db: Pool
    brokers: Brokers
    relay: Relay
    replies: ReplyWriter
    model: Model
    breakers: Breakers
    worker: Worker


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the pool, Redis, the model and the worker's lock; close them on exit."""
    async with AsyncExitStack() as stack:
        db = await open_pool(settings.database_url, schema="ai", max_size=settings.db_pool_size)
        stack.push_async_callback(db.close)
        redis = MultiplexedRedis(settings.redis_url, timeout_s=REDIS_TIMEOUT_S)
        stack.push_async_callback(redis.aclose)
        model = Gemini(settings)
        stack.push_async_callback(model.aclose)
        worker = await stack.enter_async_context(alive(settings.database_url))
        brokers = make_brokers(settings.rabbitmq_url, service="ai", prefetch=settings.prefetch)
        breakers = Breakers(asyncio.get_running_loop().time)
        relay = Relay(db, brokers.publish)
        replies = ReplyWriter(redis)
        yield Resources(settings, db, brokers, relay, replies, model, breakers, worker)

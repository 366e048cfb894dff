"""What chat holds open while it runs; built once, closed in reverse order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from libs.common.broker import Brokers, make_brokers
from libs.common.cache import GuardedCache
from libs.common.db import Pool, open_pool
from libs.common.multiplexed import MultiplexedRedis
from libs.common.outbox import Relay
from services.chat.backlog import Backlog
from services.chat.settings import Settings

REDIS_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything an action may use; passed explicitly, never imported."""

    settings: Settings
    db: Pool
    cache: GuardedCache
    brokers: Brokers
    relay: Relay
    backlog: Backlog


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the pool and Redis, make unstarted brokers; close them on exit."""
    async with AsyncExitStack() as stack:
        db = await open_pool(settings.database_url, schema="chat", max_size=settings.db_pool_size)
        stack.push_async_callback(db.close)
        redis = MultiplexedRedis(settings.redis_url, timeout_s=REDIS_TIMEOUT_S)
        stack.push_async_callback(redis.aclose)
        cache = GuardedCache(redis)
        stack.push_async_callback(cache.aclose)
        brokers = make_brokers(settings.rabbitmq_url, service="chat", prefetch=settings.prefetch)
        relay = Relay(db, brokers.publish)
        backlog = Backlog(
            brokers.publish,
            most_basic=settings.basic_backlog,
            most_priority=settings.pro_backlog,
        )
        yield Resources(settings, db, cache, brokers, relay, backlog)

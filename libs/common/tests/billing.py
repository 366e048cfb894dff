"""A consumer for tests of what happens to deliveries."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from libs.common import topology
from libs.common.broker import Brokers, make_brokers
from libs.common.events import UserRegistered
from libs.common.subscriptions import Subscriptions

T = TypeVar("T")


@asynccontextmanager
async def registering(
    rabbitmq_url: str, res: T, action: Callable[[T, UserRegistered], Awaitable[None]]
) -> AsyncIterator[Brokers]:
    """Consume as billing does while the block runs, with `action` for each `UserRegistered`."""
    brokers = make_brokers(rabbitmq_url, service="billing", prefetch=5)
    events = Subscriptions("billing", res)
    events.on(UserRegistered, action)
    brokers.consume.include_router(events.router)
    await brokers.publish.start()
    await topology.declare(brokers.publish)
    for name in (topology.queue("billing", UserRegistered), topology.DEAD_LETTERS):
        await (await brokers.publish.declare_queue(name)).purge()  # what other tests left
    async with brokers.running():
        yield brokers

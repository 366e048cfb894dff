"""Queues as a benchmark sees them: counted, emptied, or its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage

from libs.common.topology import DEAD_LETTERS, EVENTS

_PREFETCH = 200


async def purge(url: str, queue: str) -> int:
    """Empty a queue and return how many messages were in it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await channel.get_queue(queue)
        return (await found.purge()).message_count or 0


async def dead_letters(url: str) -> int:
    """Return how many deliveries ended as dead letters."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await channel.declare_queue(DEAD_LETTERS.name, passive=True)
        return found.declaration_result.message_count or 0


@asynccontextmanager
async def listening(
    url: str, *, name: str, routing_key: str, on_body: Callable[[bytes], None]
) -> AsyncIterator[AbstractExchange]:
    """Consume events of one kind on a quorum queue of our own while the block runs.

    The context's value is the services' exchange, on a connection and a channel of its own that
    confirms what is published.
    """

    async def handle(message: AbstractIncomingMessage) -> None:
        on_body(message.body)
        await message.ack()

    async with (
        await aio_pika.connect(url) as consuming,
        await aio_pika.connect(url) as publishing,
    ):
        channel = await consuming.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.declare_queue(
            name, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(EVENTS.name, routing_key)
        tag = await queue.consume(handle)
        try:
            yield await (await publishing.channel()).get_exchange(EVENTS.name)
        finally:
            await queue.cancel(tag)
            await queue.delete(if_unused=False, if_empty=False)

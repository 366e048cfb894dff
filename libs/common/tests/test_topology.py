"""E5: what RabbitMQ keeps, and what it is told of a delivery."""

from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed

from libs.common import topology
from libs.common.broker import Brokers
from libs.common.clock import new_id
from libs.common.events import Event, UserRegistered
from libs.common.testing import eventually
from libs.common.tests.test_broker import Handler, brokers, handler, send

__all__ = ["brokers", "handler"]
PAIRS = [(who, event) for event, consumers in topology.CONSUMERS.items() for who in consumers]


@pytest.fixture
async def stranger(brokers: Brokers, rabbitmq_url: str) -> AsyncIterator[aio_pika.Channel]:
    """A connection that knows nothing of ours; the topology is declared."""
    connection = await aio_pika.connect(rabbitmq_url)
    channel = await connection.channel()
    assert isinstance(channel, aio_pika.Channel)
    yield channel
    await connection.close()


@pytest.mark.parametrize(("consumer", "event"), PAIRS)
def test_a_queue_outlives_the_broker_and_loses_no_letter(consumer: str, event: type[Event]) -> None:
    """E5: durable, replicated, a limit of deliveries, dead letters at least once."""
    queue = topology.queue(consumer, event)

    assert queue.durable
    assert not queue.auto_delete
    assert not queue.exclusive
    assert queue.arguments is not None
    assert queue.arguments["x-queue-type"] == "quorum"
    assert queue.arguments["x-delivery-limit"] == topology.DELIVERY_LIMIT == 20
    assert queue.arguments["x-dead-letter-exchange"] == topology.DEAD.name
    # Either without the other is at most once.
    assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
    assert queue.arguments["x-overflow"] == "reject-publish"


@pytest.mark.integration
async def test_rabbitmq_keeps_the_queues_as_they_are_meant(stranger: aio_pika.Channel) -> None:
    """E5: a queue with another limit is another queue, says the broker."""
    meant = topology.queue("billing", UserRegistered)
    assert meant.arguments is not None
    arguments = meant.arguments

    same = await stranger.declare_queue(meant.name, durable=True, arguments=arguments)
    assert same.name == meant.name
    with pytest.raises(ChannelPreconditionFailed, match="x-delivery-limit"):
        await stranger.declare_queue(
            meant.name, durable=True, arguments={**arguments, "x-delivery-limit": 21}
        )


@pytest.mark.integration
async def test_a_delivery_that_was_not_handled_to_its_end_comes_again(
    brokers: Brokers, handler: Handler
) -> None:
    """E5: acknowledged by hand, after the handler; a lost connection gives it back."""
    handler.gate.clear()
    event = UserRegistered(user_id=new_id())
    await send(brokers, event)

    async def held() -> bool:
        return handler.seen == [event]

    await eventually(held)
    connection = brokers.consume._connection
    assert connection is not None
    assert connection.transport is not None
    await connection.transport.connection.close(ConnectionResetError())
    handler.gate.set()

    async def again() -> bool:
        return handler.seen == [event, event]

    await eventually(again, within_s=10)

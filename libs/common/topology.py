"""Who announces what to whom: the whole map of RabbitMQ, in one table.

Queue arguments cannot be changed once a queue exists: a change here needs a new queue name.
"""

from faststream.rabbit import ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue

from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    ChatroomSummarised,
    ChatroomTitled,
    ConversationGrew,
    Event,
    MessageChanged,
    MessagePosted,
    PriorityMessagePosted,
    ReplyStopRequested,
    SessionRevoked,
    SubscriptionChanged,
    UserChanged,
    UserDeleted,
    UserRegistered,
)

CONSUMERS: dict[type[Event], tuple[str, ...]] = {
    UserRegistered: ("billing",),
    SessionRevoked: ("gateway",),
    UserChanged: ("billing",),
    UserDeleted: ("ai", "billing", "chat", "gateway"),
    MessagePosted: ("ai",),
    PriorityMessagePosted: ("ai",),
    ReplyStopRequested: ("ai",),
    ConversationGrew: ("ai",),
    MessageChanged: ("gateway",),
    ChatroomChanged: ("gateway",),
    AIReplyStarted: ("chat", "gateway"),
    AIReplyReady: ("chat", "gateway"),
    AIReplyFailed: ("chat", "gateway"),
    AIReplyStopped: ("chat", "gateway"),
    ChatroomTitled: ("chat",),
    ChatroomSummarised: ("chat",),
    SubscriptionChanged: ("ai", "auth", "chat", "gateway"),
}

EVENTS = RabbitExchange("thoughtflow.events", type=ExchangeType.TOPIC)
DEAD = RabbitExchange("thoughtflow.dead", type=ExchangeType.FANOUT)
DEAD_LETTERS = RabbitQueue(
    "thoughtflow.dead_letters",
    queue_type=QueueType.QUORUM,
    # RabbitMQ 4 would drop a letter that was looked at 20 times.
    arguments={"x-delivery-limit": 1_000_000_000},
)
DELAYS_S = (1, 5, 30, 120)
"""Seconds that a delivery waits before its second, third, fourth and fifth try."""

DELIVERY_LIMIT = 20
"""Redeliveries before RabbitMQ gives up: it only ends crash loops, our retries are the delays."""


def queue(consumer: str, event: type[Event]) -> RabbitQueue:
    """Return the durable queue on which `consumer` receives `event`.

    Named `<consumer>.<event type>`, e.g. `ai.chat.message_posted.v1`. What is rejected, or came
    back `DELIVERY_LIMIT` times, moves to `thoughtflow.dead_letters` under this queue's name.

    Raises:
        KeyError: `CONSUMERS` does not list the pair.
    """
    if consumer not in CONSUMERS[event]:
        raise KeyError(f"{consumer} is no consumer of {event.TYPE}")
    name = f"{consumer}.{event.TYPE}"
    return RabbitQueue(
        name,
        queue_type=QueueType.QUORUM,
        routing_key=event.TYPE,
        arguments={
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD.name,
            "x-dead-letter-routing-key": name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


async def count_waiting(broker: RabbitBroker, consumer: str, event: type[Event]) -> int:
    """Return how many events no consumer has taken yet: not those in a handler, or delayed.

    Raises:
        aiormq.exceptions.AMQPError, OSError, RuntimeError: RabbitMQ is away.
    """
    return await _count(broker, queue(consumer, event))


async def count_dead_letters(broker: RabbitBroker) -> int:
    """Return how many events wait for a person; raises as `count_waiting` does."""
    return await _count(broker, DEAD_LETTERS)


async def _count(broker: RabbitBroker, of: RabbitQueue) -> int:
    declared = await broker.declare_queue(of)  # remembered: asks nobody
    return int((await declared.declare()).message_count or 0)


def delay_exchange(seconds: int) -> RabbitExchange:
    """Return the exchange for deliveries that wait `seconds`.

    A message published there with the routing key of its work queue comes back to that queue:
    the delay queue dead-letters to the default exchange and keeps the key.
    """
    return RabbitExchange(f"thoughtflow.delay.{seconds}s", type=ExchangeType.FANOUT)


def _delay_queue(seconds: int) -> RabbitQueue:
    return RabbitQueue(
        f"thoughtflow.delay.{seconds}s",
        queue_type=QueueType.QUORUM,
        arguments={
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def bound() -> list[tuple[RabbitQueue, RabbitExchange]]:
    """Return every queue, with the exchange that it is bound to under `key`."""
    work = [
        (queue(consumer, event), EVENTS)
        for event, consumers in CONSUMERS.items()
        for consumer in consumers
    ]
    delays = [(_delay_queue(seconds), delay_exchange(seconds)) for seconds in DELAYS_S]
    return [*work, *delays, (DEAD_LETTERS, DEAD)]


def queues() -> list[RabbitQueue]:
    """Return every queue there is."""
    return [each for each, _ in bound()]


def key(of: RabbitQueue) -> str:
    """Return the routing key that a queue is bound under; a fanout exchange looks at none."""
    return of.routing_key or of.name


async def declare(broker: RabbitBroker) -> None:
    """Create every exchange, queue and binding; a no-op where they exist.

    Each service does this when it starts, so no event is lost because its consumer was never up.
    """
    for each, exchange in bound():
        declared = await broker.declare_queue(each)
        await declared.bind(await broker.declare_exchange(exchange), routing_key=key(each))

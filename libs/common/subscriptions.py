"""What a service does when it is told of an event: one action per event."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from faststream.rabbit import RabbitMessage, RabbitRouter

from libs.common.events import Event
from libs.common.topology import EVENTS, queue

ResourcesT = TypeVar("ResourcesT")
EventT = TypeVar("EventT", bound=Event)


class Subscriptions(Generic[ResourcesT]):
    """The events that a running service consumes.

    FastStream would pass the resources, too, but each `Context` costs a delivery a hop to a thread
    and back, and its dependency injection as much as all else that FastStream does.

    Args:
        consumer: the service, as `libs.common.topology` names it.
        res: what its actions get.
    """

    def __init__(self, consumer: str, res: ResourcesT) -> None:
        self.router = RabbitRouter()
        self._consumer = consumer
        self._res = res

    def on(
        self, event_type: type[EventT], action: Callable[[ResourcesT, EventT], Awaitable[None]]
    ) -> None:
        """Let `action` handle each delivery of that event; one it cannot read is a dead letter."""

        async def decode(message: RabbitMessage) -> EventT:
            return event_type.model_validate_json(message.body)

        async def handle(event: Any) -> None:
            await action(self._res, event)

        subscriber = self.router.subscriber(
            queue(self._consumer, event_type), EVENTS, decoder=decode
        )
        subscriber(handle)

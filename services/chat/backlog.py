"""How many prompts wait for a worker, and whose posts that many are too many for.

RabbitMQ counts them: what a worker has taken does not wait, however slowly it is answered.
"""

import asyncio

from faststream.rabbit import RabbitBroker

from libs.common.events import MessagePosted, PriorityMessagePosted
from libs.common.topology import count_dead_letters, count_waiting
from services.chat.metrics import DEAD_LETTERS, PROMPTS_WAITING

BASIC = "basic"
ASK_S = 1.0
"""Seconds that RabbitMQ may take to tell."""


class Backlog:
    """What waited when RabbitMQ was asked last; nothing while it is away: the outbox takes it all.

    Args:
        broker: any connection.
        most_basic: prompts that may wait before users of Basic are refused; 0 is without end.
        most_priority: prompts in the queue of the others that may wait before they are, too.
    """

    def __init__(self, broker: RabbitBroker, *, most_basic: int, most_priority: int) -> None:
        self._broker = broker
        self._most_basic = most_basic
        self._most_priority = most_priority
        self._basic = 0
        self._priority = 0

    async def measure(self) -> None:
        """Ask RabbitMQ, two round trips.

        Raises:
            aiormq.exceptions.AMQPError, OSError, RuntimeError: it is away.
        """
        try:
            async with asyncio.timeout(ASK_S):
                basic = await count_waiting(self._broker, "ai", MessagePosted)
                priority = await count_waiting(self._broker, "ai", PriorityMessagePosted)
        except BaseException:
            self._basic = self._priority = 0
            raise
        self._basic, self._priority = basic, priority
        PROMPTS_WAITING.labels(MessagePosted.TYPE).set(basic)
        PROMPTS_WAITING.labels(PriorityMessagePosted.TYPE).set(priority)

    async def measure_dead_letters(self) -> None:
        """Tell Prometheus how many there are; raises as `measure` does."""
        async with asyncio.timeout(ASK_S):
            DEAD_LETTERS.set(await count_dead_letters(self._broker))

    @property
    def is_long(self) -> bool:
        """Whether anybody is refused."""
        return self.is_long_for(BASIC)

    def is_long_for(self, plan: str) -> bool:
        """Tell whether users of that plan are refused; those of Basic are if any others are."""
        if 0 < self._most_priority < self._priority:
            return True
        return plan == BASIC and 0 < self._most_basic < self._basic + self._priority

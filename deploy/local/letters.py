"""The dead letters of a broker, taken without acknowledging them.

What is not settled RabbitMQ puts back, also when this process is killed. A quorum queue shuffles
more than 32 that come back at once (seen on 3.10), so their order is by time, not by place.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelNotFoundEntity,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)

from libs.common.broker import ATTEMPT
from libs.common.topology import DEAD, DEAD_LETTERS

TIMEOUT_S = 10.0
RENEW_AT = 10
"""Looks at a letter after which a copy takes its place.

RabbitMQ 4 deletes what came back to a quorum queue more often than the queue's limit, which is 20
where the queue was declared without one.
"""
_COUNTS = {"x-delivery-count", "x-acquired-count"}


class DeadLetterError(RuntimeError):
    """A letter cannot be got at or sent; the message says what to do."""


class Letter:
    """A dead letter that is taken and not settled.

    Attributes:
        event_id: `-` where the publisher gave none.
        queue: the work queue that it failed in.
        attempts: how often a handler was given it, crashes of the whole process left out.
        reason: RabbitMQ's: `rejected` by the service, or `delivery_limit` after a crash loop.
        died_at: in UTC; none if it was put there by hand.
    """

    def __init__(self, message: AbstractIncomingMessage) -> None:
        self.message = message
        self.event_id = message.message_id or "-"
        self.event_type = message.type or "-"
        self.queue = message.routing_key or ""
        tries = message.headers.get(ATTEMPT, 0)
        self.attempts = tries + 1 if isinstance(tries, int) else 1
        death = self._death()
        self.reason = str(death.get("reason", "-"))
        died_at = death.get("time")
        self.died_at = died_at if isinstance(died_at, datetime) else None

    def row(self) -> tuple[str, ...]:
        """Return its cells of the table."""
        died_at = f"{self.died_at:%Y-%m-%d %H:%M:%S}" if self.died_at else "-"
        kind, queue = self.event_type, self.queue
        return died_at, kind, queue, str(self.attempts), self.reason, self.event_id

    def age(self) -> tuple[float, str]:
        """Return what sorts the oldest first; an event id, which rises, decides in a second."""
        return self.died_at.timestamp() if self.died_at else 0.0, self.event_id

    def looks(self) -> int:
        """Return how often it came back to the queue so far."""
        count = self.message.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0

    def _death(self) -> dict[str, Any]:
        deaths = self.message.headers.get("x-death")
        entries = deaths if isinstance(deaths, list) else []
        own = (d for d in entries if isinstance(d, dict) and d.get("queue") == self.queue)
        return next(own, {})  # the others are stays in delay queues


class Shelf:
    """Every dead letter, the oldest first, while nobody else can take them."""

    def __init__(self, channel: AbstractChannel, letters: list[Letter]) -> None:
        self.letters = letters
        self._channel = channel

    def find(self, event_id: str) -> list[Letter]:
        """Return the letters of an event: one for each queue that it failed in.

        Raises:
            DeadLetterError: there is none.
        """
        found = [letter for letter in self.letters if letter.event_id == event_id]
        if not found:
            raise DeadLetterError(
                f"No dead letter has the event id {event_id}. See them all: make dead-letters"
            )
        return found

    async def replay(self, letter: Letter) -> None:
        """Send it to the work queue that it failed in, as if for the first time.

        It is settled only when the queue has it, so a kill in between sends it twice.

        Raises:
            DeadLetterError: the queue is gone or did not take it; the letter stays.
        """
        headers = {k: v for k, v in letter.message.headers.items() if not k.startswith("x-")}
        try:
            await self._channel.default_exchange.publish(
                _copy(letter, headers), letter.queue, mandatory=True, timeout=TIMEOUT_S
            )
        except PublishError as problem:
            raise DeadLetterError(
                f"{letter.event_id} stays: there is no queue {letter.queue!r} any more. "
                "Start the service that declares it and try again, or discard the letter."
            ) from problem
        except (DeliveryError, TimeoutError) as problem:
            raise DeadLetterError(
                f"{letter.event_id} stays: {letter.queue} did not confirm it within "
                f"{TIMEOUT_S:g} s. Look at the queue's length and RabbitMQ's alarms, and try again."
            ) from problem
        await self.discard(letter)

    async def discard(self, letter: Letter) -> None:
        """Settle it: it is gone."""
        await self._settle(letter)
        self.letters.remove(letter)

    async def put_back(self) -> None:
        """Return every letter that is not settled."""
        if max((letter.looks() for letter in self.letters), default=0) >= RENEW_AT:
            await self._renew()
        await self._channel.close()

    async def _renew(self) -> None:
        """Put a copy of each behind all others; a kill in between leaves one of them twice."""
        dead = await self._channel.get_exchange(DEAD.name)
        for letter in self.letters:
            headers = {k: v for k, v in letter.message.headers.items() if k not in _COUNTS}
            copy = _copy(letter, headers)
            await dead.publish(copy, letter.queue, mandatory=True, timeout=TIMEOUT_S)
            await self._settle(letter)

    async def _settle(self, letter: Letter) -> None:
        """Acknowledge it, and wait for an answer of the queue, as there is none to that.

        A channel forgets acknowledgements past 32 that the queue has not taken when it closes.
        """
        await letter.message.ack()
        await self._channel.declare_queue(DEAD_LETTERS.name, passive=True)


@asynccontextmanager
async def take_all(url: str) -> AsyncIterator[Shelf]:
    """Hold every dead letter while the block runs, then put back what it did not settle.

    Raises:
        DeadLetterError: RabbitMQ cannot be used, or has no such queue.
    """
    where = f"RabbitMQ at {_place(url)}"
    try:
        connection = await aio_pika.connect(url, timeout=TIMEOUT_S)
        async with connection:
            channel = await connection.channel(on_return_raises=True)
            queue = await channel.get_queue(DEAD_LETTERS.name)
            letters = []
            while message := await queue.get(fail=False, timeout=TIMEOUT_S):
                letters.append(Letter(message))
            shelf = Shelf(channel, sorted(letters, key=Letter.age))
            try:
                yield shelf
            finally:
                await shelf.put_back()
                await _wait_until_back(connection, len(shelf.letters))
    except ChannelNotFoundEntity as problem:
        missing = "declares its queues when a service first connects, and none has"
        raise DeadLetterError(f"{where} {missing}. Start one, or check the URL.") from problem
    except (AuthenticationError, ProbableAuthenticationError) as problem:
        raise DeadLetterError(f"{where} refuses the login: check the URL's user.") from problem
    except (AMQPError, OSError) as problem:  # a TimeoutError is an OSError
        text = f"{where} cannot be reached or went away ({type(problem).__name__})"
        raise DeadLetterError(f"{text}. Does it run, and is the URL right?") from problem


async def _wait_until_back(connection: AbstractConnection, count: int) -> None:
    """Give RabbitMQ, which confirms no return, up to 2 s: a next look shall see them all."""
    async with connection.channel() as channel:
        for _ in range(100):
            queue = await channel.declare_queue(DEAD_LETTERS.name, passive=True)
            if (queue.declaration_result.message_count or 0) >= count:
                return
            await asyncio.sleep(0.02)


def _place(url: str) -> str:
    """Return host and port of a broker's URL, which holds a password."""
    try:
        address = urlsplit(url)
        if address.scheme in {"amqp", "amqps"} and address.hostname and address.port != 0:
            return address.netloc.rpartition("@")[2]
    except ValueError:  # its text may quote the URL
        pass
    raise DeadLetterError("The URL must look like amqp://user:password@host:port/")


def _copy(letter: Letter, headers: dict[str, Any]) -> aio_pika.Message:
    of = letter.message
    return aio_pika.Message(
        of.body,
        headers=headers,
        content_type=of.content_type,
        content_encoding=of.content_encoding,
        correlation_id=of.correlation_id,
        message_id=of.message_id,
        timestamp=of.timestamp,
        type=of.type,
        app_id=of.app_id,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )

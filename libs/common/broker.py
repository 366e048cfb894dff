"""The two RabbitMQ connections of a service, configured so that nothing is lost silently."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import structlog
from faststream import BaseMiddleware
from faststream.exceptions import RejectMessage
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage
from opentelemetry.trace import SpanKind
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from typing_extensions import override

from libs.common import topology
from libs.common.db import OUTAGES
from libs.common.errors import ThoughtflowError
from libs.common.metrics import count_delivery
from libs.common.tracing import HEADER, traced

log = structlog.stdlib.get_logger()
ATTEMPT = "x-attempt"
RECONNECT_S = 1.0
HEARTBEAT_S = 10
"""Seconds after which, at most twice of it, RabbitMQ gives the deliveries of a silent process to
others; we take three times as long to give a silent RabbitMQ up."""

_OUTAGES = (*OUTAGES, RedisConnectionError, RedisTimeoutError)


@dataclass(frozen=True, slots=True)
class Brokers:
    """A connection to publish on and one to consume on.

    FastStream forgets which channel a queue was declared on; with one connection for both, a
    consumer loses its prefetch and a publisher its returns.

    Attributes:
        publish: confirms on; an event that no queue is bound to raises instead of vanishing.
        consume: at most `prefetch` deliveries at a time; failed ones wait or become dead letters.
    """

    publish: RabbitBroker
    consume: RabbitBroker

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, declare the topology and consume while the block runs; then drain handlers.

        Raises:
            aiormq.exceptions.AMQPConnectionError: RabbitMQ cannot be reached.
        """
        try:
            await self.publish.start()
            await topology.declare(self.publish)
            await self.consume.start()
            yield
        finally:
            await self.consume.stop()
            await self.publish.stop()

    async def ask(self) -> None:
        """Ask RabbitMQ for an answer over each connection; hangs for as long as it does.

        Raises:
            aiormq.exceptions.AMQPError, OSError, RuntimeError: it is away.
        """
        for broker in (self.publish, self.consume):
            if not await broker.ping(timeout=0.1):  # tells of the connection only
                raise ConnectionError("RabbitMQ is away")
            exchange = await broker.declare_exchange(topology.EVENTS)  # remembered: asks nobody
            await exchange.declare()


def make_brokers(url: str, *, service: str, prefetch: int) -> Brokers:
    """Return the unstarted connections of `service`, named after it in the management UI."""
    publish = RabbitBroker(
        f"{url}?name={service}.publish&heartbeat={HEARTBEAT_S}",
        app_id=service,
        logger=None,
        reconnect_interval=RECONNECT_S,
        default_channel=Channel(publisher_confirms=True, on_return_raises=True),
    )
    consume = RabbitBroker(
        f"{url}?name={service}.consume&heartbeat={HEARTBEAT_S}",
        app_id=service,
        logger=None,
        reconnect_interval=RECONNECT_S,
        graceful_timeout=10.0,
        apply_types=False,  # libs.common.subscriptions does it
        default_channel=Channel(prefetch_count=prefetch),
        middlewares=[_retrying(publish, service)],
    )
    return Brokers(publish=publish, consume=consume)


def _retrying(publish: RabbitBroker, service: str) -> type[BaseMiddleware[Any, Any]]:
    class Retrying(BaseMiddleware[Any, Any]):
        """Maps what a handler raises to what becomes of its delivery.

        PostgreSQL or Redis away: wait here, so that an outage uses up no delivery. A transient
        error: wait in a delay queue. Anything else, or the last delay used: dead letter.
        """

        @override
        async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
            parent = msg.headers.get(HEADER)
            with traced(f"{service} process", SpanKind.CONSUMER, parent):
                await self._consume(call_next, msg)

        async def _consume(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> None:
            started = perf_counter()
            outcome = "dead"
            try:
                outcome = await _handle(publish, service, call_next, msg)
            except asyncio.CancelledError:
                outcome = "cancelled"  # the connection is lost: RabbitMQ delivers it again
                raise
            finally:
                seconds = perf_counter() - started
                count_delivery(msg.raw_message.type, outcome, seconds)
                log.info(
                    "delivery",
                    type=msg.raw_message.type,
                    event_id=msg.message_id,
                    outcome=outcome,
                    duration_ms=round(seconds * 1000, 1),
                )

    return Retrying


async def _handle(
    publish: RabbitBroker,
    service: str,
    call_next: Callable[[Any], Awaitable[Any]],
    msg: RabbitMessage,
) -> str:
    pause_s = 0.2
    while True:
        try:
            await call_next(msg)
        except _OUTAGES as exc:
            log.warning("dependency_away", error=type(exc).__name__, retry_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)
        except ThoughtflowError as exc:
            if exc.transient and await _delay(publish, service, msg, patient=exc.patient):
                return "delayed"
            log.exception("delivery_failed", code=exc.code, event_id=msg.message_id)
            raise RejectMessage from exc
        except Exception as exc:
            log.exception("delivery_failed", code="internal_error", event_id=msg.message_id)
            raise RejectMessage from exc
        else:
            return "done"


async def _delay(publish: RabbitBroker, service: str, msg: RabbitMessage, *, patient: bool) -> bool:
    """Send the delivery to its next delay queue; false if it has been through all of them.

    A patient one never goes further than the second, and so comes back for ever.
    """
    attempt = int(msg.headers.get(ATTEMPT, 0))
    if patient:
        attempt = min(attempt, 1)
    if attempt >= len(topology.DELAYS_S):
        return False
    while True:
        try:
            await _publish_later(publish, service, msg, attempt)
        except Exception as exc:  # noqa: BLE001 - there is no other place for it, so it waits here
            log.warning("delay_not_published", error=type(exc).__name__)
            await asyncio.sleep(1)
        else:
            return True


async def _publish_later(
    publish: RabbitBroker, service: str, msg: RabbitMessage, attempt: int
) -> None:
    await publish.publish(
        msg.body,
        exchange=topology.delay_exchange(topology.DELAYS_S[attempt]),
        routing_key=f"{service}.{msg.raw_message.type}",  # the work queue it came from
        message_id=msg.message_id,
        correlation_id=msg.correlation_id,
        message_type=msg.raw_message.type,
        content_type=msg.content_type,
        headers={**_own_headers(msg.headers), ATTEMPT: attempt + 1},
        persist=True,
        timeout=5,
    )


def _own_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Return the headers without RabbitMQ's own, which it would take for ours."""
    return {name: value for name, value in headers.items() if not name.startswith("x-")}

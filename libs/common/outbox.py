"""Transactional outbox: the event is stored with the change and published afterwards."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from faststream.rabbit import RabbitBroker
from opentelemetry import propagate

from libs.common.background import in_background
from libs.common.db import Connection, Pool
from libs.common.events import Event
from libs.common.topology import EVENTS

log = structlog.stdlib.get_logger()
BATCH = 200
SAFETY_NET_S = 1.0
"""Seconds between looks at the outbox when nobody nudged: another process may have died."""

PUBLISH_TIMEOUT_S = 5.0


async def add(conn: Connection, event: Event) -> None:
    """Store `event` for publication, in the caller's transaction.

    Raises:
        RuntimeError: there is no transaction, so the event could outlive a rolled-back change.
    """
    if not conn.is_in_transaction():
        raise RuntimeError(f"outbox.add({event.TYPE}) outside a transaction")
    await conn.execute(
        "INSERT INTO outbox (event_id, type, payload, traceparent) VALUES ($1, $2, $3, $4)",
        *row(event),
    )


def row(event: Event) -> tuple[UUID, str, str, str | None]:
    """Return `event_id`, `type`, `payload` and `traceparent`, for a statement that does it all."""
    return event.event_id, event.TYPE, event.model_dump_json(), traceparent()


def traceparent() -> str | None:
    """Return the present trace context (W3C traceparent) to be stored with an event, if any."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


class Relay:
    """Publishes what the outbox holds.

    `nudge` it after a commit; without a nudge it looks once a second, so an event outlives the
    process that stored it. Safe to run in several processes: each takes rows that no other holds.
    """

    def __init__(self, pool: Pool, broker: RabbitBroker) -> None:
        self._pool = pool
        self._broker = broker
        self._wake = asyncio.Event()

    def nudge(self) -> None:
        """Tell the relay that an event was committed."""
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish in the background while the block runs."""
        async with in_background(self._publish_forever()):
            yield

    async def publish_pending(self) -> int:
        """Publish up to `BATCH` stored events and return how many.

        At least once: if we die between the confirms and the commit they go out again. What was
        confirmed is deleted also where another event was refused.

        Raises:
            aiormq.exceptions.AMQPError, OSError, RuntimeError: RabbitMQ is away or no queue is
                bound to an event, which stays.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            rows = await conn.fetch(
                """
                DELETE FROM outbox
                WHERE id = ANY (ARRAY( -- IN would read the whole table, rows long dead included
                    SELECT id FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
                ))
                RETURNING id, event_id, type, payload, traceparent
                """,
                BATCH,
            )
            results = await asyncio.gather(
                *(self._publish(row) for row in rows), return_exceptions=True
            )
            refused = [
                (row, result)
                for row, result in zip(rows, results, strict=True)
                if isinstance(result, BaseException)
            ]
            await self._put_back(conn, [row for row, _ in refused])
        if refused:
            raise refused[0][1]
        return len(rows)

    async def _put_back(self, conn: Connection, rows: Sequence[Any]) -> None:
        """Store events again under their old numbers."""
        if rows:
            await conn.executemany(
                """
                INSERT INTO outbox (id, event_id, type, payload, traceparent)
                OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5)
                """,
                [tuple(row) for row in rows],
            )

    async def _publish(self, row: Any) -> None:
        await self._broker.publish(
            row["payload"].encode(),
            exchange=EVENTS,
            routing_key=row["type"],
            message_id=str(row["event_id"]),
            message_type=row["type"],
            content_type="application/json",
            headers={"traceparent": row["traceparent"]} if row["traceparent"] else None,
            persist=True,
            timeout=PUBLISH_TIMEOUT_S,
        )

    async def _publish_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                while await self.publish_pending() == BATCH:
                    pass
            except Exception as exc:  # noqa: BLE001 - it must outlive any outage
                log.warning("outbox_relay_failed", error=type(exc).__name__)
                await asyncio.sleep(SAFETY_NET_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_NET_S):
                    await self._wake.wait()

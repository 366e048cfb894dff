"""Events that nobody can handle."""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import httpx2
import pytest
import structlog
from aio_pika import RobustQueue
from faststream.rabbit import RabbitQueue

from libs.common import outbox, topology
from libs.common.clock import new_id
from libs.common.events import AIReplyReady, Event, MessagePosted
from libs.common.telemetry import _stack_without_values
from libs.common.testing import eventually
from libs.common.topology import DEAD, EVENTS
from services.ai.resources import Resources
from services.ai.tests.integration.asking import end_of, has_ended, posted

pytestmark = pytest.mark.integration
POISON: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("no JSON", b"{this is not"),
    ("bytes", bytes(range(256))),
    ("no object", b"[]"),
    ("nothing in it", b"{}"),
    ("wrong types", b'{"user_id": 5, "content": []}'),
    ("empty content", posted("x").model_dump_json().replace('"x"', '""').encode()),
    ("unknown version", b'{"version": 99, "type": "chat.message_posted.v99"}'),
    ("deep", b"[" * 100_000),
    ("1 MB", b'{"content": "' + b"x" * 1_000_000 + b'"}'),
]
COPIES = 6


@pytest.fixture(autouse=True)
def _logs_as_in_production() -> Iterator[None]:
    """Without values: structlog's own way takes seconds to draw a megabyte of them."""
    structlog.configure(
        processors=[_stack_without_values, structlog.processors.JSONRenderer()],
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def buried(res: Resources) -> RobustQueue:
    """A queue that gets every dead letter from now on."""
    queue = await res.brokers.publish.declare_queue(RabbitQueue(f"spy.{new_id()}", exclusive=True))
    await queue.bind(DEAD.name)
    return queue


async def publish(res: Resources, body: bytes) -> None:
    await res.brokers.publish.publish(
        body,
        exchange=EVENTS,
        routing_key=MessagePosted.TYPE,
        message_id=str(new_id()),
        message_type=MessagePosted.TYPE,
        content_type="application/json",
        persist=True,
    )


async def waiting(res: Resources, queue: RabbitQueue) -> int:
    declared = await res.brokers.publish.declare_queue(queue)
    return int((await declared.declare()).message_count or 0)


async def test_60_events_that_make_no_sense_die_once_and_delay_nobody(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event], buried: RobustQueue
) -> None:
    """E4: all are dead letters, each published once, and a good message is answered meanwhile."""
    bodies = [body for _ in range(COPIES) for _, body in POISON]
    good = posted("good")
    began = monotonic()
    for number, body in enumerate(bodies):
        await publish(res, body)
        if number == len(bodies) // 2:
            async with res.db.acquire() as conn, conn.transaction():
                await outbox.add(conn, good)
            res.relay.nudge()

    async def answered() -> bool:
        return has_ended(announced, good)

    await eventually(answered, within_s=30)
    end_of(announced, good, AIReplyReady)
    assert monotonic() - began < 30
    dead: list[Any] = []

    async def all_dead() -> bool:
        while (letter := await buried.get(fail=False, no_ack=True)) is not None:
            dead.append(letter.body)
        return len(dead) >= len(bodies)

    await eventually(all_dead, within_s=30)
    # Nothing waits for another try, so nothing can come again.
    queues = [topology.queue("ai", MessagePosted), *map(topology._delay_queue, topology.DELAYS_S)]
    assert [await waiting(res, queue) for queue in queues] == [0] * len(queues)
    await all_dead()
    assert sorted(dead) == sorted(bodies)

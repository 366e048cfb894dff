"""Dead letters for tests, and the command that looks at them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractChannel, FieldValue

from deploy.local.config import ROOT
from libs.common.events import UserRegistered
from libs.common.topology import DEAD, DEAD_LETTERS, queue

WORK = queue("billing", UserRegistered).name
IDS = [f"event-{number}" for number in range(5)]
# More than the 32 that RabbitMQ would keep in order; the ids fall while the time rises.
MANY = [f"event-{number}" for number in range(99, 59, -1)]

Command = Callable[..., Awaitable[tuple[int, str]]]


async def bury(
    channel: AbstractChannel,
    event_ids: Sequence[str],
    *,
    body: bytes = b"{}",
    work_queue: str = WORK,
) -> None:
    """Put letters where RabbitMQ would, with what our own code leaves on them."""
    dead = await channel.get_exchange(DEAD.name)
    for second, event_id in enumerate(event_ids):
        time = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=second)
        death: dict[str, FieldValue] = {"queue": work_queue, "reason": "rejected", "time": time}
        message = aio_pika.Message(
            body,
            message_id=event_id,
            correlation_id="a request",
            type=UserRegistered.TYPE,
            headers={"x-attempt": 4, "traceparent": "00-ab-cd-01", "x-death": [death]},
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await dead.publish(message, work_queue)


async def remaining(channel: AbstractChannel) -> list[str]:
    """Take every dead letter for good; return their event ids in the queue's order."""
    dead = await channel.get_queue(DEAD_LETTERS.name)
    found = []
    while message := await dead.get(fail=False, no_ack=True):
        found.append(message.message_id or "")
    return found


async def count(channel: AbstractChannel, name: str) -> int:
    again = await channel.declare_queue(name, passive=True)
    return again.declaration_result.message_count or 0


async def in_a_process(
    arguments: list[str], url: str, home: Path = Path("/nowhere")
) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "RABBITMQ_URL": url,
        "THOUGHTFLOW_HOME": str(home),
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

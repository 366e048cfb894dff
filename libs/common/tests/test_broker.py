import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.common import topology
from libs.common.broker import Brokers
from libs.common.clock import new_id
from libs.common.errors import NotFoundError, UnavailableError
from libs.common.events import UserRegistered
from libs.common.testing import eventually
from libs.common.tests.billing import registering
from libs.common.topology import EVENTS, queue

pytestmark = pytest.mark.integration


class BusyError(UnavailableError):
    """It will pass."""

    patient = True


class Handler:
    """Billing's handler of `UserRegistered`, which raises what `outcomes` says, in order.

    While `gate` is closed it holds what it has seen.
    """

    def __init__(self) -> None:
        self.outcomes: list[Exception] = []
        self.seen: list[UserRegistered] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, event: UserRegistered) -> None:
        self.seen.append(event)
        await self.gate.wait()
        if self.outcomes:
            raise self.outcomes.pop(0)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def brokers(rabbitmq_url: str, handler: Handler) -> AsyncIterator[Brokers]:
    async with registering(rabbitmq_url, handler, Handler.handle) as brokers:
        yield brokers


async def send(brokers: Brokers, body: Any) -> None:
    await brokers.publish.publish(
        body,
        exchange=EVENTS,
        routing_key=UserRegistered.TYPE,
        message_id=str(new_id()),
        message_type=UserRegistered.TYPE,
        persist=True,
    )


async def dead_letter(brokers: Brokers) -> Any:
    dead = await brokers.publish.declare_queue(topology.DEAD_LETTERS)

    async def get() -> Any:
        return await dead.get(fail=False, no_ack=True)

    return await eventually(get, within_s=10)


async def test_a_transient_failure_comes_again_after_the_first_delay(
    brokers: Brokers, handler: Handler
) -> None:
    handler.outcomes = [UnavailableError("later")]
    event = UserRegistered(user_id=new_id())
    started = asyncio.get_running_loop().time()

    await send(brokers, event)

    async def twice() -> bool:
        return handler.seen == [event, event]

    assert await eventually(twice)
    assert asyncio.get_running_loop().time() - started >= topology.DELAYS_S[0]


async def test_a_lasting_failure_is_a_dead_letter_at_once_under_its_queues_name(
    brokers: Brokers, handler: Handler
) -> None:
    handler.outcomes = [NotFoundError("never")]

    await send(brokers, UserRegistered(user_id=new_id()))

    letter = await dead_letter(brokers)
    assert letter.routing_key == queue("billing", UserRegistered).name
    assert len(handler.seen) == 1


async def test_a_delivery_that_cannot_be_delayed_now_is_delayed_later(
    brokers: Brokers, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.outcomes = [UnavailableError("later")]
    publish = brokers.publish.publish
    refused: list[Any] = []

    async def blocked_once(*args: Any, **options: Any) -> Any:
        if not refused and handler.seen:
            refused.append(args)
            raise TimeoutError
        return await publish(*args, **options)

    monkeypatch.setattr(brokers.publish, "publish", blocked_once)
    await send(brokers, UserRegistered(user_id=new_id()))

    async def twice() -> bool:
        return len(handler.seen) == 2

    assert await eventually(twice)
    assert refused


async def test_a_transient_failure_is_a_dead_letter_after_the_last_delay(
    brokers: Brokers, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "DELAYS_S", (1,))
    handler.outcomes = [UnavailableError("later"), UnavailableError("later")]

    await send(brokers, UserRegistered(user_id=new_id()))

    assert await dead_letter(brokers)
    assert len(handler.seen) == 2


async def test_a_failure_that_is_certain_to_pass_is_retried_past_the_last_delay(
    brokers: Brokers, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "DELAYS_S", (1, 1))
    handler.outcomes = [BusyError("later") for _ in range(3)]
    event = UserRegistered(user_id=new_id())

    await send(brokers, event)

    async def four_times() -> bool:
        return handler.seen == [event] * 4

    assert await eventually(four_times, within_s=10)


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"user_id": 5}', b"\x00" * 1000])
async def test_a_malformed_event_is_a_dead_letter_and_stops_nobody(
    brokers: Brokers, handler: Handler, body: bytes
) -> None:
    """E4: for any service."""
    good = UserRegistered(user_id=new_id())

    await send(brokers, body)
    await send(brokers, good)

    assert (await dead_letter(brokers)).body == body

    async def handled() -> bool:
        return handler.seen == [good]

    assert await eventually(handled)


async def test_an_outage_is_waited_for_and_uses_up_no_delivery(
    brokers: Brokers, handler: Handler
) -> None:
    handler.outcomes = [ConnectionRefusedError(), RedisTimeoutError(), asyncpg.InterfaceError("")]
    event = UserRegistered(user_id=new_id())

    await send(brokers, event)

    async def four_times() -> bool:
        return handler.seen == [event] * 4

    assert await eventually(four_times)
    dead = await brokers.publish.declare_queue(topology.DEAD_LETTERS)
    assert await dead.get(fail=False) is None


async def test_an_event_that_no_queue_is_bound_to_is_not_lost_silently(brokers: Brokers) -> None:
    with pytest.raises(Exception, match="NO_ROUTE"):
        await brokers.publish.publish(
            b"{}", exchange=EVENTS, routing_key="nobody.listens.v1", persist=True
        )


async def test_one_process_handles_no_more_at_once_than_its_prefetch(
    brokers: Brokers, handler: Handler
) -> None:
    """E5: a prefetch bounds what one process has in hand."""
    handler.gate.clear()
    work = await brokers.publish.declare_queue(queue("billing", UserRegistered))
    for _ in range(8):
        await send(brokers, UserRegistered(user_id=new_id()))

    async def five_held_and_three_waiting() -> bool:
        waiting = (await work.declare()).message_count
        return (len(handler.seen), waiting) == (5, 3)

    assert await eventually(five_held_and_three_waiting)
    handler.gate.set()

    async def all_handled() -> bool:
        return len(handler.seen) == 8

    assert await eventually(all_handled)

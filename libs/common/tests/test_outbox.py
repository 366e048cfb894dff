import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aio_pika import DeliveryMode, RobustQueue
from faststream.rabbit import RabbitQueue

from libs.common import inbox, outbox
from libs.common.broker import Brokers, make_brokers
from libs.common.clock import new_id
from libs.common.db import Connection, Pool, open_pool
from libs.common.events import UserRegistered
from libs.common.outbox import Relay
from libs.common.testing import eventually
from libs.common.topology import EVENTS

pytestmark = pytest.mark.integration
NOBODY_LISTENS = "nobody.listens.v1"


@pytest.fixture
async def pool(conn: Connection, database_urls: dict[str, str]) -> AsyncIterator[Pool]:
    pool = await open_pool(database_urls["chat"], schema="chat")
    yield pool
    await pool.close()


@pytest.fixture
async def brokers(rabbitmq_url: str) -> AsyncIterator[Brokers]:
    brokers = make_brokers(rabbitmq_url, service="chat", prefetch=1)
    async with brokers.running():
        yield brokers


@pytest.fixture
async def published(brokers: Brokers) -> AsyncIterator[RobustQueue]:
    """A queue that gets every `UserRegistered` from now on."""
    queue = await brokers.publish.declare_queue(RabbitQueue(f"spy.{new_id()}", exclusive=True))
    await queue.bind(EVENTS.name, routing_key=UserRegistered.TYPE)
    yield queue
    await queue.delete(if_unused=False, if_empty=False)


@pytest.fixture
def relay(pool: Pool, brokers: Brokers) -> Relay:
    return Relay(pool, brokers.publish)


async def store(conn: Connection, event: UserRegistered) -> None:
    async with conn.transaction():
        await outbox.add(conn, event)


async def store_unpublishable(conn: Connection) -> None:
    await conn.execute(
        "INSERT INTO outbox (event_id, type, payload) VALUES ($1, $2, '{}')",
        new_id(),
        NOBODY_LISTENS,
    )


async def store_for_later(
    conn: Connection, event: UserRegistered, *, type_: str = UserRegistered.TYPE
) -> list[outbox.Stored]:
    """Store an event that its sender publishes; a relay would in five seconds."""
    _, _, payload, traceparent = outbox.row(event)
    return await conn.fetch(
        """
        INSERT INTO outbox (event_id, type, payload, traceparent, due_at)
        VALUES ($1, $2, $3, $4, now() + interval '5 seconds')
        RETURNING id, event_id, type, payload, traceparent
        """,
        event.event_id,
        type_,
        payload,
        traceparent,
    )


async def take(queue: RobustQueue) -> Any:
    async def get() -> Any:
        return await queue.get(fail=False, no_ack=True)

    return await eventually(get)


async def rows(conn: Connection) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM outbox")
    return count


async def test_an_event_is_not_taken_outside_a_transaction(conn: Connection) -> None:
    with pytest.raises(RuntimeError, match=r"auth\.user_registered\.v1"):
        await outbox.add(conn, UserRegistered(user_id=new_id()))

    assert await rows(conn) == 0


async def test_an_event_is_published_once_as_it_was_stored_and_would_survive_the_broker(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    """E1: persistent, with its id and its type, which holds the version."""
    event = UserRegistered(user_id=new_id(), name="Ada")
    await store(conn, event)

    assert await relay.publish_pending() == 1
    assert await relay.publish_pending() == 0

    message = await take(published)
    assert UserRegistered.model_validate_json(message.body) == event
    assert message.message_id == str(event.event_id)
    assert message.type == message.routing_key == UserRegistered.TYPE
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    assert await published.get(fail=False) is None


async def test_what_rabbitmq_did_not_take_stays_in_the_outbox(
    conn: Connection, relay: Relay
) -> None:
    await store_unpublishable(conn)

    with pytest.raises(Exception, match="NO_ROUTE"):
        await relay.publish_pending()

    assert await rows(conn) == 1


async def test_a_relay_that_failed_goes_on(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    event = UserRegistered(user_id=new_id())
    await store_unpublishable(conn)
    await store(conn, event)

    async with relay.running():
        await take(published)  # and its batch fails

        async def empty() -> bool:
            # Each time: a relay that holds the row just now puts it back.
            await conn.execute("DELETE FROM outbox WHERE type = $1", NOBODY_LISTENS)
            return await rows(conn) == 0

        assert await eventually(empty)


async def test_what_its_sender_publishes_goes_out_at_once_and_only_once(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    event = UserRegistered(user_id=new_id())
    stored = await store_for_later(conn, event)

    async with relay.running():
        assert await relay.publish_pending() == 0
        relay.send(stored)

        message = await take(published)
        assert message.message_id == str(event.event_id)
        assert UserRegistered.model_validate_json(message.body) == event

        async def empty() -> bool:
            return await rows(conn) == 0

        assert await eventually(empty)
    assert await published.get(fail=False) is None


async def test_what_is_being_sent_at_the_end_is_sent_and_deleted(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    stored = await store_for_later(conn, UserRegistered(user_id=new_id()))

    async with relay.running():
        relay.send(stored)

    assert await published.get(fail=False, no_ack=True) is not None
    assert await rows(conn) == 0


async def test_what_its_sender_could_not_publish_goes_out_once_it_is_due(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    stored = await store_for_later(conn, UserRegistered(user_id=new_id()), type_=NOBODY_LISTENS)

    async with relay.running():
        relay.send(stored)
        await asyncio.gather(*relay.sending)
        await conn.execute("UPDATE outbox SET type = $1", UserRegistered.TYPE)

        async def taken() -> object:
            return await published.get(fail=False, no_ack=True)

        async def is_deleted() -> bool:
            return await rows(conn) == 0

        assert await eventually(taken, within_s=15)
        await eventually(is_deleted)  # stopped before its commit, the relay would keep it


async def test_while_rabbitmq_refuses_nothing_is_sent_but_what_is_due(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    first = await store_for_later(conn, UserRegistered(user_id=new_id()), type_=NOBODY_LISTENS)
    second = await store_for_later(conn, UserRegistered(user_id=new_id()))

    relay.send(first)
    await asyncio.gather(*relay.sending)
    relay.send(second)
    assert not relay.sending

    await conn.execute("UPDATE outbox SET due_at = now(), type = $1", UserRegistered.TYPE)
    assert await relay.publish_pending() == 2
    relay.send(second)
    assert relay.sending
    await asyncio.gather(*relay.sending)


async def test_rows_that_another_relay_holds_stop_nobody(
    conn: Connection, relay: Relay, published: RobustQueue, database_urls: dict[str, str]
) -> None:
    await store(conn, UserRegistered(user_id=new_id()))
    free = UserRegistered(user_id=new_id())
    other = await asyncpg.connect(database_urls["chat"])
    async with other.transaction():
        await other.execute("SELECT FROM outbox FOR UPDATE")
        await store(conn, free)

        async with asyncio.timeout(5):
            assert await relay.publish_pending() == 1

    assert (await take(published)).message_id == str(free.event_id)
    assert await rows(conn) == 1
    await other.close()


async def test_an_event_is_claimed_once_by_each_consumer(conn: Connection) -> None:
    event_id = new_id()

    claims = [
        await inbox.first_time(conn, consumer=consumer, event_id=event_id)
        for consumer in ("a", "a", "b", "b")
    ]

    assert claims == [True, False, True, False]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_claim_waits_for_the_one_before_and_falls_to_it_only_if_that_is_rolled_back(
    conn: Connection, database_urls: dict[str, str], *, commits: bool
) -> None:
    event_id = new_id()
    other = await asyncpg.connect(database_urls["chat"])
    claiming = other.transaction()
    await claiming.start()
    assert await inbox.first_time(other, consumer="a", event_id=event_id)

    second = asyncio.create_task(inbox.first_time(conn, consumer="a", event_id=event_id))
    assert not (await asyncio.wait({second}, timeout=0.2))[0]
    await (claiming.commit() if commits else claiming.rollback())

    assert await second is not commits
    await other.close()


async def test_what_rabbitmq_took_does_not_go_out_again_with_what_it_refused(
    conn: Connection, relay: Relay, published: RobustQueue
) -> None:
    await store_unpublishable(conn)
    await store(conn, UserRegistered(user_id=new_id()))

    for _ in range(3):
        with pytest.raises(Exception, match="NO_ROUTE"):
            await relay.publish_pending()

    assert await take(published)
    assert await published.get(fail=False, no_ack=True) is None
    assert await conn.fetchval("SELECT array_agg(type) FROM outbox") == [NOBODY_LISTENS]

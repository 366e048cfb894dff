"""What a deletion waits for, and what it lets nobody write any more."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis

from libs.common import deleted_users
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.deleted_users import AccountDeletedError, StillErasingError
from libs.common.replies import Entry, ReplyWriter, stream_key

pytestmark = pytest.mark.integration


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def other(database_urls: dict[str, str]) -> AsyncIterator[Connection]:
    """Another connection of the same service."""
    other = await asyncpg.connect(database_urls["chat"])
    yield other
    await other.close()


async def test_a_deletion_waits_for_what_began_before_it(
    conn: Connection, other: Connection
) -> None:
    began = other.transaction()
    await began.start()
    await other.execute("SELECT 1")

    settling = asyncio.create_task(deleted_users.settle(conn))
    await asyncio.sleep(3 * deleted_users.POLL_S)
    waited = not settling.done()
    await began.commit()
    await asyncio.wait_for(settling, 5)

    assert waited


async def test_a_deletion_does_not_wait_for_what_begins_after_it(
    conn: Connection, other: Connection, database_urls: dict[str, str]
) -> None:
    first = other.transaction()
    await first.start()
    settling = asyncio.create_task(deleted_users.settle(conn))
    await asyncio.sleep(3 * deleted_users.POLL_S)
    late = await asyncpg.connect(database_urls["chat"])

    async with late.transaction():
        await first.commit()
        await asyncio.wait_for(settling, 5)
    await late.close()


async def test_a_deletion_comes_again_where_something_takes_too_long(
    conn: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleted_users, "SETTLE_S", 0.1)
    async with other.transaction():
        with pytest.raises(StillErasingError) as raised:
            await deleted_users.settle(conn)

    assert raised.value.transient
    assert raised.value.patient


async def test_a_marked_user_is_known_by_a_hash_only(conn: Connection, user_id: UUID) -> None:
    await deleted_users.mark(conn, user_id)
    await deleted_users.mark(conn, user_id)

    with pytest.raises(AccountDeletedError):
        await deleted_users.ensure_exists(conn, user_id)
    await deleted_users.ensure_exists(conn, new_id())
    (row,) = await conn.fetch("SELECT * FROM deleted_user")
    assert user_id.bytes not in row["user_hash"]


async def test_what_the_outbox_holds_of_a_user_is_deleted_and_nothing_else(
    conn: Connection, user_id: UUID
) -> None:
    insert = "INSERT INTO outbox (event_id, type, payload) VALUES (gen_random_uuid(), 'x', $1)"
    await conn.execute(insert, f'{{"user_id":"{user_id}"}}')
    await conn.execute(insert, other_payload := f'{{"user_id":"{new_id()}"}}')

    await deleted_users.delete_events(conn, user_id)

    assert [row["payload"] for row in await conn.fetch("SELECT payload FROM outbox")] == [
        other_payload
    ]


async def test_what_the_relay_puts_back_meanwhile_is_deleted_too(
    conn: Connection, other: Connection, user_id: UUID
) -> None:
    """P3: RabbitMQ is away, and the relay tries again and again."""
    insert = "INSERT INTO outbox (event_id, type, payload) VALUES (gen_random_uuid(), 'x', $1)"
    await conn.execute(insert, str(user_id))
    async with other.transaction():
        await other.execute("DELETE FROM outbox")
        deleting = asyncio.create_task(deleted_users.delete_events(conn, user_id))
        await asyncio.sleep(0.2)  # it waits for the row that is in hand
        await other.execute(insert, str(user_id))
    await deleting

    assert await other.fetchval("SELECT count(*) FROM outbox") == 0


async def test_no_reply_of_a_deleted_user_is_streamed_any_more(redis: Redis, user_id: UUID) -> None:
    """P3: a worker that writes on brings no stream back."""
    writer = ReplyWriter(redis)
    key = stream_key(user_id=user_id, chatroom_id=new_id(), reply_id=new_id())
    await writer.append(key, Entry("delta", 1, 0, "secret"))

    await writer.forget(user_id, [key])
    await writer.append(key, Entry("delta", 1, 6, " more"))

    (left,) = await redis.keys()
    assert left == deleted_users.redis_key(user_id).encode()
    assert str(user_id) not in left.decode()
    assert 0 < await redis.ttl(left) <= deleted_users.REDIS_EXPIRY_S

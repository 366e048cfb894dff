"""What a client that sends twice may rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import httpx2
import pytest

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import Entitlements
from libs.common.testing import TokenIssuer
from services.chat.models import Draft, Terms
from services.chat.store import messages as store
from services.chat.tests.integration.posting import used

pytestmark = pytest.mark.integration
KEY = {"Idempotency-Key": "k1"}


async def new_room(client: httpx2.AsyncClient, headers: dict[str, str] | None = None) -> UUID:
    response = await client.post("/chatroom", json={}, headers=headers or {})
    assert response.status_code == 201, response.text
    return UUID(response.json()["id"])


async def send(
    client: httpx2.AsyncClient, room_id: UUID, headers: dict[str, str] | None = None
) -> httpx2.Response:
    return await client.post(
        f"/chatroom/{room_id}/message", json={"content": "hello"}, headers=KEY | (headers or {})
    )


@pytest.fixture
async def other_conn(database_urls: dict[str, str]) -> AsyncIterator[Connection]:
    other = await asyncpg.connect(database_urls["chat"])
    yield other
    await other.close()


@asynccontextmanager
async def posting(conn: Connection, room_id: UUID, user_id: UUID) -> AsyncIterator[UUID]:
    """A post with the same key and content that commits only when the block ends."""
    message_id = new_id()
    async with conn.transaction():
        await store.post_message(
            conn,
            Draft(user_id, room_id, "hello", idempotency_key=KEY["Idempotency-Key"]),
            message_id=message_id,
            reply_id=new_id(after=message_id),
            event_ids=[new_id() for _ in range(3)],
            now=utc_now(),
            terms=Terms(Entitlements(messages_per_day=5), 12_000, 4096),
            traceparent=None,
        )
        yield message_id


async def test_a_key_that_was_used_in_another_room_is_refused(
    client: httpx2.AsyncClient, room_id: UUID, user_id: UUID, conn: Connection
) -> None:
    assert (await send(client, room_id)).status_code == 202

    reused = await send(client, await new_room(client))

    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert await used(conn, user_id) == 1


async def test_one_key_in_two_rooms_at_the_same_moment_posts_once(
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    other_conn: Connection,
) -> None:
    other_room = await new_room(client)
    async with posting(other_conn, other_room, user_id):
        second = asyncio.create_task(send(client, room_id))
        assert not (await asyncio.wait({second}, timeout=0.3))[0]  # it waits for the first

    answer = await second

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await conn.fetchval("SELECT count(*) FROM message WHERE role = 'user'") == 1
    assert await used(conn, user_id) == 1


async def test_a_key_that_is_just_being_used_gets_the_answer_of_that_request(
    client: httpx2.AsyncClient,
    room_id: UUID,
    user_id: UUID,
    conn: Connection,
    other_conn: Connection,
) -> None:
    async with posting(other_conn, room_id, user_id) as message_id:
        second = asyncio.create_task(send(client, room_id))
        assert not (await asyncio.wait({second}, timeout=0.3))[0]  # it waits for the first

    answer = await second

    assert (answer.status_code, answer.json()["message"]["id"]) == (202, str(message_id))
    assert answer.headers["idempotent-replayed"] == "true"
    assert await used(conn, user_id) == 1


async def test_a_key_belongs_to_its_user(
    client: httpx2.AsyncClient, room_id: UUID, issuer: TokenIssuer
) -> None:
    """R6: nobody gets another's answer."""
    other = issuer.authorization(new_id())
    other_room = await new_room(client, other)

    answers = [await send(client, room_id), await send(client, other_room, other)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["message"]["id"] for answer in answers}) == 2


async def test_the_same_key_makes_one_room_and_another_title_is_refused(
    client: httpx2.AsyncClient, issuer: TokenIssuer, conn: Connection
) -> None:
    async def create(title: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        return await client.post("/chatroom", json={"title": title}, headers=KEY | (headers or {}))

    foreign = await create("Tea", issuer.authorization(new_id()))
    answers = await asyncio.gather(*(create("Tea") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {201}
    [room] = {answer.json()["id"] for answer in answers}
    assert room != foreign.json()["id"]
    assert await conn.fetchval("SELECT count(*) FROM chatroom") == 2
    reused = await create("Coffee")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")

"""What a client of any service sees while PostgreSQL is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx2
import pytest
from fastapi import APIRouter, FastAPI

from libs.common import db
from libs.common.db import Pool, open_pool
from libs.common.http import create_service
from libs.common.testing import eventually

Client = httpx2.AsyncClient


@asynccontextmanager
async def client_of(pool: Pool, query: str = "SELECT 42") -> AsyncIterator[Client]:
    """A client of a service with one endpoint that reads from `pool`."""
    router = APIRouter()

    @router.get("/answer")
    async def answer() -> int:
        async with pool.acquire() as conn:
            number: int = await conn.fetchval(query)
            return number

    @router.get("/bug")
    async def bug() -> int:
        raise ValueError("a bug")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_service("test", lifespan=lifespan, routers=[router])
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with Client(transport=transport, base_url="http://test") as client:
        yield client


def assert_says_come_back(response: httpx2.Response) -> None:
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_pool_that_is_empty_for_long_is_a_503(
    database_urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await open_pool(database_urls["chat"], schema="chat", max_size=1)
    monkeypatch.setattr(type(pool).acquire, "__kwdefaults__", {"timeout": 0.2})
    async with pool, client_of(pool) as client:
        before = await client.get("/answer")
        async with pool.acquire(), asyncio.timeout(3):
            during = await client.get("/answer")
        after = await client.get("/answer")

    assert (before.status_code, after.status_code) == (200, 200)
    assert_says_come_back(during)


async def test_a_connection_that_dies_is_a_503_and_a_bug_is_not(
    database_urls: dict[str, str], postgres_url: str
) -> None:
    pool = await open_pool(database_urls["chat"], schema="chat", max_size=1)
    admin = await asyncpg.connect(postgres_url)
    async with pool, client_of(pool, "SELECT pg_backend_pid(), pg_sleep(20)") as client:
        request = asyncio.create_task(client.get("/answer"))

        async def was_killed() -> bool:
            return bool(
                await admin.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()"
                )
            )

        await eventually(was_killed)
        killed, bug = await request, await client.get("/bug")
    await admin.close()

    assert_says_come_back(killed)
    assert (bug.status_code, bug.json()["code"]) == (500, "internal_error")


async def test_who_freezes_in_a_transaction_loses_its_locks_to_others_and_is_told_to_come_back(
    database_urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: its connection stays open, and it asks nothing."""
    monkeypatch.setattr(db, "MOST_IDLE_S", 1)
    pool = await open_pool(database_urls["chat"], schema="chat", max_size=2)
    lock = "SELECT pg_advisory_xact_lock(4712)"
    async with pool, pool.acquire() as frozen, pool.acquire() as other:
        await frozen.transaction().start()
        await frozen.execute(lock)
        async with other.transaction():
            await other.execute(lock)
        with pytest.raises(db.OUTAGES) as told:
            await frozen.execute("SELECT 1")

    assert not isinstance(told.value, TimeoutError)


async def test_an_address_where_nobody_listens_is_a_503(
    database_urls: dict[str, str], unused_tcp_port: int
) -> None:
    pool = await open_pool(database_urls["chat"], schema="chat", max_size=1)
    async with pool, client_of(pool) as client:
        pool.set_connect_args(f"postgresql://x:y@127.0.0.1:{unused_tcp_port}/x")
        await pool.expire_connections()
        away = await client.get("/answer")

    assert_says_come_back(away)
    assert db.ACQUIRE_TIMEOUT_S < 15  # the gateway's patience

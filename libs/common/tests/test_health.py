"""What readiness says of dependencies that are away, or hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from libs.common import http
from libs.common.http import Probes, create_service


@asynccontextmanager
async def client_of(probes: Probes) -> AsyncIterator[httpx2.AsyncClient]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_service("test", lifespan=lifespan, routers=[])
    app.state.probes = probes
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def answers() -> None:
    return None


async def test_each_dependency_that_is_not_there_is_named() -> None:
    async def says_no() -> bool:
        return False

    async def raises() -> None:
        raise OSError("refused")

    async def is_cancelled() -> None:
        raise asyncio.CancelledError

    probes = {"a": answers, "b": says_no, "c": raises, "d": is_cancelled}
    async with client_of(probes) as client:
        ready = await client.get("/health/ready")

    assert ready.status_code == 503
    assert ready.json()["checks"] == {"a": True, "b": False, "c": False, "d": False}


async def test_dependencies_that_hang_are_named_in_time_and_asked_once_until_they_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "PROBE_TIMEOUT_S", 0.2)
    asked: list[str] = []
    back = asyncio.Event()

    async def hangs() -> None:
        asked.append("hangs")
        while not back.is_set():
            try:
                await back.wait()
            except asyncio.CancelledError:  # as asyncpg does not end before the server answers
                continue

    probes = {"hangs": hangs, "hangs too": hangs, "answers": answers}
    async with client_of(probes) as client:
        try:
            async with asyncio.timeout(3):
                during = [await client.get("/health/ready") for _ in range(3)]
        finally:
            asked_meanwhile = len(asked)
            back.set()
        after = [await client.get("/health/ready") for _ in range(2)]

    assert [each.status_code for each in during] == [503] * 3
    expected = {"hangs": False, "hangs too": False, "answers": True}
    assert [each.json()["checks"] for each in during] == [expected] * 3
    assert asked_meanwhile == 2
    assert [each.status_code for each in after] == [200] * 2
    assert during[0].elapsed.total_seconds() < 2 * http.PROBE_TIMEOUT_S

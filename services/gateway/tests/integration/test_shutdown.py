"""The gateway as a process of its own, ended as a deploy ends it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.replies import Entry, ReplyWriter, stream_key
from libs.common.server import GRACEFUL_S
from services.gateway.tests.integration.conftest import NO_BROKER, FakeServices, eventually
from tests.ports import free_port

ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def process(redis_url: str, services_port: int) -> AsyncIterator[tuple[int, int]]:
    """A gateway's pid and port."""
    port = free_port()
    services = f"http://127.0.0.1:{services_port}"
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "development",
        "REDIS_URL": redis_url,
        "RABBITMQ_URL": NO_BROKER,
        "JWKS_URL": f"{services}/.well-known/jwks.json",
        "PORT": str(port),
    } | {f"{name}_URL": services for name in ("AUTH", "CHAT", "AI", "BILLING")}
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.gateway"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )

    async def is_ready() -> bool:
        assert gateway.returncode is None
        try:
            async with httpx2.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{port}/health/live")
        except httpx2.ConnectError:
            return False
        return answer.status_code == 200

    try:
        await eventually(is_ready)
        yield gateway.pid, port
        async with asyncio.timeout(20):
            assert await gateway.wait() in {0, -signal.SIGTERM}
    finally:
        if gateway.returncode is None:
            gateway.kill()
            await gateway.wait()


async def test_sigterm_ends_live_streams_at_once_and_leaves_them_to_be_resumed(
    redis_url: str, redis: Redis, fakes: FakeServices, services_port: int
) -> None:
    user_id, chatroom_id, reply_id = new_id(), new_id(), new_id()
    key = stream_key(user_id=user_id, chatroom_id=chatroom_id, reply_id=reply_id)
    await ReplyWriter(redis).append(key, Entry("delta", 1, 0, "half"))
    headers = {"Authorization": f"Bearer {fakes.token(user_id)}"}
    path = f"/chatroom/{chatroom_id}/message/{reply_id}/stream"
    async with process(redis_url, services_port) as (pid, port), httpx2.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}{path}"
        async with client.stream("GET", url, headers=headers, timeout=20) as response:
            lines = response.aiter_lines()
            while "half" not in (seen := await anext(lines)):
                pass
            os.kill(pid, signal.SIGTERM)
            told = time.monotonic()
            rest = [line async for line in lines]
            ended_after_s = time.monotonic() - told

    assert "half" in seen
    assert not any(line.startswith("event: generation") or '"generation.' in line for line in rest)
    assert ended_after_s < 2
    assert time.monotonic() - told < GRACEFUL_S / 2

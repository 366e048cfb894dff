"""Whoever does not read costs little and delays nobody."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from libs.common.replies import Entry
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.stage import Stage, all_of, text_of

pytestmark = pytest.mark.integration
READERS = 20
ENTRIES = 2000
TEXT = "x" * 4000
OPEN = {"user_requests_per_minute": 0, "anonymous_requests_per_minute": 0}
_APPEND = """
local id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[1])
"""


@pytest.fixture
async def stages(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> AsyncIterator[list[Stage]]:
    """A reply for each reader, so that what waits for one is no other's."""
    async with start_gateway(**OPEN) as client:
        yield [Stage(client, fakes, redis) for _ in range(READERS + 1)]


async def test_readers_that_never_read_cost_little_and_delay_nobody(stages: list[Stage]) -> None:
    """S7: 20 connections read nothing while 8 MB are written to each; memory stays bounded, and
    somebody who reads has all of it within 10 s."""
    *stuck, read = stages
    async with AsyncExitStack() as stack:
        for number, stage in enumerate(stuck):
            follow = stuck_sse if number % 2 else stuck_socket
            await follow(stack, stage)
        before = resident()
        for stage in stuck:
            await write(stage)
        grown = resident() - before
        fast = asyncio.create_task(follow_to_the_end(read))
        async with asyncio.timeout(10):
            await write(read)
            await read.end()
            text = await fast

    assert text == TEXT * ENTRIES
    assert grown < 48 << 20, f"{grown >> 20} MiB"


async def write(stage: Stage) -> None:
    """Write all entries, a hundred to a round trip."""
    for start in range(0, ENTRIES, 100):
        async with stage.redis.pipeline(transaction=False) as pipeline:
            for number in range(start, start + 100):
                entry = Entry("delta", 1, number * len(TEXT), TEXT).dump()
                pipeline.eval(_APPEND, 1, stage.key, entry)
            await pipeline.execute()

        async def taken() -> bool:
            # Else Valkey cuts the gateway off, and nothing would wait for the readers.
            return not any(int(c["omem"]) for c in await stage.redis.client_list(_type="pubsub"))

        await eventually(taken)
    stage.written = ENTRIES * len(TEXT)


async def follow_to_the_end(stage: Stage) -> str:
    async with stage.watching() as events:
        return text_of(await all_of(events))


async def stuck_socket(stack: AsyncExitStack, stage: Stage) -> None:
    token = stage.fakes.token(stage.user_id)
    following = await stack.enter_async_context(
        socket_to(stage.client, token, max_queue=1, sock=await narrow(stage))
    )
    ids = {"chatroom_id": stage.room_id, "reply_id": stage.reply_id}
    await following.ask(op="subscribe", **ids)
    following.connection.transport.pause_reading()
    stack.callback(following.connection.transport.abort)


async def stuck_sse(stack: AsyncExitStack, stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(sock=await narrow(stage), limit=1024)
    token = stage.fakes.token(stage.user_id)
    head = f"GET {stage.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    cast("asyncio.Transport", writer.transport).pause_reading()
    stack.push_async_callback(hang_up, writer)


async def narrow(stage: Stage) -> socket.socket:
    """Return a connection for which the kernel keeps next to nothing: it would hide the rest."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    url = stage.client.base_url
    await asyncio.get_running_loop().sock_connect(connection, (url.host, url.port))
    return connection


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

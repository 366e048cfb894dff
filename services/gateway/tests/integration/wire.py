"""Servers that answer byte by byte as a test says, and a client for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.gateway.upstream import Upstream, UpstreamRequest
from tests.ports import free_port

GET = UpstreamRequest("GET", b"/", b"")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
LOCALHOST = "127.0.0.1"


@asynccontextmanager
async def raw_server(handle: Handler) -> AsyncIterator[tuple[str, int]]:
    """Serve connections by `handle`, which gets their number, from 1 on."""
    count = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        try:
            await handle(reader, writer, count)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    port = free_port()
    server = await asyncio.start_server(on_connection, LOCALHOST, port)
    try:
        yield LOCALHOST, port
    finally:
        server.close()


def answering(*answers: bytes) -> Handler:
    """One connection's answers in order, then its end; every connection gets the same."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return handle


@asynccontextmanager
async def upstream_to(*addresses: tuple[str, int], **options: float) -> AsyncIterator[Upstream]:
    upstream = Upstream(addresses, **options)  # type: ignore[arg-type]
    try:
        yield upstream
    finally:
        upstream.close()


async def ask(upstream: Upstream, request: UpstreamRequest = GET) -> tuple[int, bytes]:
    response = await upstream.send(request)
    body = b""
    while chunk := await response.read(5):
        body += chunk
    return response.status, body

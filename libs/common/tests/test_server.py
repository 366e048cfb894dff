"""What one client can do to a server, on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common import server as subject
from libs.common.server import MAX_HEAD, STOPPING, Server
from libs.common.testing import eventually

LENGTH = 8_000_000
DEADLINE_S = 10


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, on /long with `LENGTH` bytes, on /stream for ever."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"x" * LENGTH if scope["path"] == "/long" else b"%d" % size
    length = [(b"content-length", str(len(body)).encode())]
    is_stream = scope["path"] == "/stream"
    headers = [] if is_stream else length
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if is_stream:
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await scope["state"][STOPPING].wait()
        body = b"ended"
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[tuple[Server, int]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(app, host="", port=0, lifespan="off", timeout_graceful_shutdown=5)
        task = asyncio.create_task(server._serve([listener]))

        async def has_started() -> bool:
            return server.started

        await eventually(has_started)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(app) as (_, port):
        yield port


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, bytes]:
        """The next answer; (0, b"") where the connection ends instead."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return 0, b""
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(head.split()[1]), await self.reader.readexactly(length)


@asynccontextmanager
async def connected(port: int, *parts: bytes) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        for part in parts:
            client.writer.write(part)
            await client.writer.drain()
        yield client
    finally:
        client.writer.transport.abort()


def request(*, head: int = 0, body: bytes = b"", path: str = "/") -> bytes:
    """A request whose head is `head` bytes long, if that is possible."""
    start = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\nX-Pad: ".encode()
    return start + b"x" * (head - len(start) - 4) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request(), 200),
        (request(head=MAX_HEAD, body=b"x" * 300_000), 200),
        (request(head=MAX_HEAD + 1), 431),
        (request(head=200_000), 431),
        (b"GET /" + b"x" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, 431),
    ],
)
async def test_a_head_has_a_largest_size(port: int, sent: bytes, expected: int) -> None:
    async with connected(port, sent) as client:
        status, body = await client.answer()

    assert status == expected
    if status == 431:
        assert orjson.loads(body)["code"] == "headers_too_large"


async def test_the_limit_is_one_request_s_and_not_the_connection_s(port: int) -> None:
    async with connected(port) as client:
        for _ in range(5):
            client.writer.write(request(head=MAX_HEAD - 1000, body=b"y" * 100_000))
            assert await client.answer() == (200, b"100000")


@pytest.mark.parametrize("size", [1, 1000, 100_000])
async def test_a_head_may_arrive_in_any_pieces(port: int, size: int) -> None:
    sent = request(head=30_000 if size > 1 else 100, body=b"z" * 1000)
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    async with connected(port, *pieces) as client:
        assert await client.answer() == (200, b"1000")


async def test_trailers_without_end_are_cut(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: "
    async with connected(port, head, b"x" * MAX_HEAD * 4) as client:
        assert (await client.answer())[0] == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nX: y\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
    ],
)
async def test_what_is_not_sent_to_its_end_is_cut(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(subject, "REQUEST_S", 0.3)
    async with connected(port, sent) as first, connected(port, request()) as second:
        assert (await second.answer())[0] == 200
        second.writer.write(sent or b"\r\n")
        assert await first.answer() == (0, b"")
        assert await second.answer() == (0, b"")


async def test_bytes_now_and_then_do_not_prolong_a_request(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "REQUEST_S", 0.5)
    async with connected(port, b"POST / HTTP/1.1\r\nX: ") as client:
        drip = asyncio.create_task(_drip(client.writer))
        assert await client.answer() == (0, b"")
        drip.cancel()


async def _drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def test_a_request_that_was_sent_whole_may_take_longer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "REQUEST_S", 0.2)
    async with connected(port, request(path="/stream")[:20], request(path="/stream")[20:]) as live:
        assert b"begun" in await live.reader.readuntil(b"begun")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await live.reader.read()


@pytest.mark.parametrize(("pause_s", "is_whole"), [(0.06, True), (2.0, False)])
async def test_who_reads_nothing_of_an_answer_is_cut_and_who_reads_slowly_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch, pause_s: float, is_whole: bool
) -> None:
    monkeypatch.setattr(subject, "STALL_S", 0.5)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        client.send(request(path="/long"))

        received = await _read_with_pauses(client, pause_s)

    assert (received > LENGTH) is is_whole


async def _read_with_pauses(client: socket.socket, pause_s: float) -> int:
    received = 0
    async with asyncio.timeout(60):
        while received <= LENGTH:
            try:
                data = await asyncio.get_running_loop().sock_recv(client, 1 << 18)
            except ConnectionResetError:
                break
            if not data:
                break
            received += len(data)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s, 0.06)
    return received


async def test_a_server_that_is_told_to_end_tells_its_streams() -> None:
    async with serving(app) as (server, port), connected(port, request(path="/stream")) as client:
        await client.reader.readuntil(b"begun")
        server.should_exit = True
        async with asyncio.timeout(3):
            rest = await client.reader.read()

    assert rest.endswith(b"ended\r\n0\r\n\r\n")

"""The upstream client against servers that misbehave, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.local.ports import next_free
from libs.common.errors import ThoughtflowError
from services.gateway.errors import (
    BrokenAnswerError,
    GatewayTimeoutError,
    ServiceUnavailableError,
)
from services.gateway.upstream import Upstream, UpstreamRequest

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

    port = next_free(23450)
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


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"ok")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", (200, b"until close")),
        (b"HTTP/1.0 200 OK\r\n\r\nold", (200, b"old")),
        (b"HTTP/1.1 204 No\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", (304, b"")),
        (
            CHUNKED + b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: t\r\n\r\n",
            (200, b"abc"),
        ),
    ],
)
async def test_every_way_to_end_an_answer_is_understood(
    answer: bytes, expected: tuple[int, bytes]
) -> None:
    async with raw_server(answering(answer)) as address, upstream_to(address) as upstream:
        assert await ask(upstream) == expected


async def test_an_answer_to_head_has_no_body_and_the_connection_is_used_again() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with raw_server(answering(head, OK)) as address, upstream_to(address) as upstream:
        assert await ask(upstream, UpstreamRequest("HEAD", b"/", b"")) == (200, b"")
        assert await ask(upstream) == (200, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
async def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    async with raw_server(answering(answer)) as address, upstream_to(address) as upstream:
        with pytest.raises(BrokenAnswerError):
            await ask(upstream)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_an_answer_that_is_cut_is_never_taken_for_a_whole_one(answer: bytes) -> None:
    async with raw_server(answering(answer)) as address, upstream_to(address) as upstream:
        response = await upstream.send(GET)
        assert await response.read(5) == b"half"
        with pytest.raises(BrokenAnswerError):
            await response.read(5)


@pytest.mark.parametrize(
    "extra",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 200",
        b"junk",
    ],
)
async def test_bytes_behind_an_answer_never_become_the_next_one(extra: bytes) -> None:
    connections: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        connections.append(number)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK + (extra if number == 1 else b""))

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        first, second = await ask(upstream), await ask(upstream)

    assert (first, second) == ((200, b"ok"), (200, b"ok"))
    assert connections == [1, 2]


@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("POST", False)])
async def test_only_what_has_no_effect_is_sent_again_when_a_kept_connection_dies(
    method: str, is_repeated: bool
) -> None:
    requests: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            requests.append(number)
            if requests == [1, 1]:
                return  # dies with the second request in its hands
            writer.write(OK)

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        await ask(upstream)
        try:
            outcome = (await ask(upstream, UpstreamRequest(method, b"/", b"")))[0]
        except ThoughtflowError as exc:
            outcome = exc.status

    assert (outcome, requests) == ((200, [1, 1, 2]) if is_repeated else (502, [1, 1]))


async def test_a_first_connection_that_dies_is_not_tried_again() -> None:
    requests: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        requests.append(number)

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        with pytest.raises(BrokenAnswerError):
            await ask(upstream)

    assert requests == [1]


async def test_a_service_that_is_silent_is_a_gateway_timeout() -> None:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await reader.read()

    async with (
        raw_server(handle) as address,
        upstream_to(address, head_timeout_s=0.05) as upstream,
    ):
        with pytest.raises(GatewayTimeoutError):
            await ask(upstream)


async def test_an_address_that_refuses_is_passed_over() -> None:
    dead = (LOCALHOST, next_free(23480))
    async with raw_server(answering(OK)) as address, upstream_to(dead, address) as upstream:
        results = [await ask(upstream) for _ in range(4)]

    assert results == [(200, b"ok")] * 4


async def test_several_addresses_take_turns() -> None:
    async with (
        raw_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")) as one,
        raw_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")) as two,
        upstream_to(one, two) as upstream,
    ):
        bodies = [(await ask(upstream))[1] for _ in range(4)]

    assert sorted(bodies) == [b"1", b"1", b"2", b"2"]


async def test_with_nobody_there_the_error_names_no_address() -> None:
    port = next_free(23480)
    async with upstream_to((LOCALHOST, port)) as upstream:
        with pytest.raises(ServiceUnavailableError) as caught:
            await ask(upstream)

    assert str(port) not in str(caught.value.problem())
    assert caught.value.status == 503


async def test_no_more_connections_are_opened_than_allowed_and_all_requests_are_served() -> None:
    open_now, most = 0, 0

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        finally:
            open_now -= 1

    async with raw_server(handle) as address, upstream_to(address, connections=3) as upstream:
        results = await asyncio.gather(*(ask(upstream) for _ in range(50)))

    assert results == [(200, b"ok")] * 50
    assert most <= 3


async def test_a_slow_reader_slows_the_service_down() -> None:
    written = 0

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            writer.write(b"x" * (64 << 10))
            await writer.drain()
            written += 64 << 10

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        response = await upstream.send(GET)
        seen = -1
        while seen != written:  # until it stands still
            seen = written
            await asyncio.sleep(0.2)
        held_back = written
        size = 0
        while chunk := await response.read(5):
            size += len(chunk)

    assert held_back < 32 << 20
    assert size == 64 << 20


async def test_an_answer_that_was_given_up_takes_its_connection_along() -> None:
    connections: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        connections.append(number)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK if number > 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await reader.read()

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        given_up = await upstream.send(GET)
        given_up.close()
        async with asyncio.timeout(5):
            answer = await ask(upstream)

    assert answer == (200, b"ok")
    assert connections == [1, 2]

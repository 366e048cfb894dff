"""What the upstream client makes of answers, byte by byte."""

import asyncio

import pytest

from services.gateway.errors import BrokenAnswerError
from services.gateway.tests.integration.wire import (
    CHUNKED,
    GET,
    OK,
    answering,
    ask,
    raw_server,
    upstream_to,
)
from services.gateway.upstream import UpstreamRequest


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

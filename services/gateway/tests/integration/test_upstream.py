"""The upstream client against servers that misbehave, byte by byte."""

import asyncio

import pytest

from libs.common.errors import ThoughtflowError
from services.gateway.errors import (
    BrokenAnswerError,
    GatewayTimeoutError,
    ServiceUnavailableError,
)
from services.gateway.tests.integration.wire import (
    GET,
    LOCALHOST,
    OK,
    answering,
    ask,
    raw_server,
    upstream_to,
)
from services.gateway.upstream import UpstreamRequest
from tests.ports import free_port


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
    dead = (LOCALHOST, free_port())
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
    port = free_port()
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

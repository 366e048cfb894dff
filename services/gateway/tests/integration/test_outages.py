"""Services and clients that hang: what they hold, others must not miss."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from starlette.types import Receive, Scope, Send

from libs.common.clock import new_id
from services.gateway import live, openapi, pool, response
from services.gateway.errors import BrokenAnswerError, GatewayTimeoutError
from services.gateway.tests.integration.conftest import (
    FakeServices,
    Start,
    eventually,
    serving,
)
from services.gateway.tests.integration.wire import (
    GET,
    OK,
    answering,
    ask,
    raw_server,
    upstream_to,
)
from services.gateway.upstream import Upstream, UpstreamRequest

LENGTH = 6_000_000


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    await reader.read()


async def outcome(upstream: Upstream, request: UpstreamRequest = GET) -> object:
    try:
        return (await ask(upstream, request))[0]
    except (GatewayTimeoutError, BrokenAnswerError) as exc:
        return type(exc)


async def test_a_replica_that_hangs_is_left_alone_after_its_first_failure() -> None:
    whole = answering(*[OK] * 50)
    async with (
        raw_server(hang) as frozen,
        raw_server(whole) as healthy,
        upstream_to(frozen, healthy, head_timeout_s=0.2) as upstream,
    ):
        outcomes = [await outcome(upstream) for _ in range(20)]

    assert outcomes.count(200) == 19
    assert outcomes.count(GatewayTimeoutError) == 1


async def test_a_replica_whose_connections_are_all_busy_leaves_the_work_to_the_other() -> None:
    whole = answering(*[OK] * 50)
    async with (
        raw_server(hang) as frozen,
        raw_server(whole) as healthy,
        upstream_to(frozen, healthy, connections=2, head_timeout_s=1.5) as upstream,
    ):
        stuck = [asyncio.create_task(outcome(upstream)) for _ in range(4)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.2):
            outcomes = [await outcome(upstream) for _ in range(10)]
        assert outcomes == [200] * 10
        assert (await asyncio.gather(*stuck)).count(GatewayTimeoutError) == 2


async def test_the_other_replica_is_asked_when_a_slot_does_not_come_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.3)
    async with (
        raw_server(hang) as frozen,
        raw_server(answering(OK)) as healthy,
        upstream_to(frozen, healthy, connections=1, head_timeout_s=3) as upstream,
    ):
        upstream._turn = 1
        stuck = asyncio.create_task(outcome(upstream))
        await asyncio.sleep(0)
        taken = await upstream._pools[1].acquire()
        upstream._turn = 1
        waiting = asyncio.create_task(outcome(upstream))
        await asyncio.sleep(0.1)
        taken.end(reusable=True)
        assert await waiting == 200
        stuck.cancel()


async def test_a_connection_that_idled_for_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections: set[int] = set()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            connections.add(number)
            writer.write(OK)

    async with raw_server(handle) as address, upstream_to(address) as upstream:
        await ask(upstream)
        await ask(upstream)
        kept = set(connections)
        monkeypatch.setattr(pool, "MAX_IDLE_S", -1.0)
        await ask(upstream)

    assert (kept, connections) == ({1}, {1, 2})


@pytest.mark.parametrize("who", ["live", "openapi"])
async def test_the_gateways_own_calls_give_their_connections_back_when_an_answer_stalls(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(live, "BODY_IDLE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(openapi, "BODY_IDLE_TIMEOUT_S", 0.1)

    async def stall(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()

    async with raw_server(stall) as address, upstream_to(address, connections=2) as upstream:
        view = live.View(new_id(), new_id(), new_id(), "Bearer x", "r", None)
        for _ in range(4):
            if who == "openapi":
                assert await openapi._fetch(upstream) is None
                continue
            with pytest.raises(GatewayTimeoutError):
                await live.look_up(_Only(upstream), view)  # type: ignore[arg-type]


class _Only:
    def __init__(self, upstream: Upstream) -> None:
        self.upstreams = {"chat": upstream}


async def test_an_answer_that_never_ends_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(response, "MAX_READ_ALL", 100_000)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000
    async with raw_server(answering(endless)) as address, upstream_to(address) as upstream:
        with pytest.raises(BrokenAnswerError):
            await (await upstream.send(GET)).read_all(5)


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    body = b"x" * (LENGTH if scope["path"] == "/chatroom" else 1)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def test_clients_that_read_nothing_take_no_connection_from_others(
    start_gateway: Start, fakes: FakeServices
) -> None:
    token = f"Bearer {fakes.token(new_id())}"
    headers = {"Authorization": token}
    request = f"GET /chatroom HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    loop = asyncio.get_running_loop()
    async with serving(big) as port:
        url = f"http://127.0.0.1:{port}"
        async with start_gateway(chat_url=url, upstream_connections=3) as client:
            with ExitStack() as stack:
                for _ in range(5):
                    reader = stack.enter_context(socket.socket())
                    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    reader.setblocking(False)
                    await loop.sock_connect(reader, (client.base_url.host, client.base_url.port))
                    await loop.sock_sendall(reader, request.encode())
                    await loop.sock_recv(reader, 1)
                others = [await client.get("/chatroom/x", headers=headers) for _ in range(5)]
            whole = await client.get("/chatroom", headers=headers)

    assert [answer.status_code for answer in others] == [200] * 5
    assert whole.content == b"x" * LENGTH


async def test_answers_that_wait_share_a_budget_and_give_it_back() -> None:
    body = b"x" * 5_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with raw_server(answering(answer)) as address, upstream_to(address) as upstream:
        budget = upstream._pools[0].budget
        full = budget.left = response.HIGH_WATER * 4

        async def is_spent() -> bool:
            return budget.left == 0

        first, second = await upstream.send(GET), await upstream.send(GET)
        await eventually(is_spent)
        held = first._buffered + second._buffered
        assert held < response.HIGH_WATER * 10

        bodies = [await first.read_all(5), await second.read_all(5)]

    assert bodies == [body, body]
    assert budget.left == full

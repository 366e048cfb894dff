"""HTTP load: a fixed number of connections in a circle, or requests at a fixed rate.

Every answer is checked against what it must be; one that is not voids the run.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import httptools
from typing_extensions import override

from bench.measures import Tally, VoidError

GRACE_S = 10.0
"""Seconds after which an answer counts as lost."""

LATE_S = 0.0015
"""A timer of ours that fires later than this was not on time: the request's clock began before."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it goes over the wire, and the answer that it must get.

    Attributes:
        body: None where the answer differs every time; whoever sends it checks it another way.
    """

    request: bytes
    status: int = 200
    body: bytes | None = None


Done = Callable[["Lane", int, bytes], None]


class Lane(asyncio.Protocol):
    """A connection with one request on its way at most."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._done: Done | None = None
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, done: Done) -> None:
        """Send a request; `done` gets the status and the body."""
        self._done = done
        cast("asyncio.Transport", self._transport).write(request)

    async def ask(self, exchange: Exchange) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            VoidError: it is not the answer that it must be, or does not come.
        """
        status, body = await self.answer(exchange.request)
        _ensure_right(exchange, status, body)
        return body

    async def answer(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer, whatever they are.

        Raises:
            VoidError: it does not come.
        """
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.send(request, lambda _, status, body: answer.set_result((status, body)))
        try:
            async with asyncio.timeout(GRACE_S):
                return await answer
        except TimeoutError as exc:
            raise VoidError("a request got no answer") from exc

    def close(self) -> None:
        """Hang up."""
        self._lost = _nothing
        cast("asyncio.Transport", self._transport).close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body; the parser calls it."""
        self._body = self._body + part if self._body else part

    def on_message_complete(self) -> None:
        """Hand the answer over; the parser calls it."""
        body, self._body = self._body, b""
        cast("Done", self._done)(self, self._parser.get_status_code(), body)


class Client:
    """Connections to one port, and what came of the requests on them."""

    def __init__(self, lanes: list[Lane], exchanges: Iterator[Exchange]) -> None:
        self._lanes = lanes
        self._exchanges = exchanges
        self._latencies: list[float] = []
        self._on_its_way = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, problem: str) -> None:
        """End the run; `problem` says what happened."""
        if not self._over.done():
            self._over.set_exception(VoidError(problem))

    async def closed_loop(self, *, seconds: float, operations: int) -> Tally:
        """Keep every connection busy, until the time or the operations are over.

        Raises:
            VoidError: an answer is wrong or does not come.
        """
        started = time.perf_counter()
        deadline, left = started + seconds, operations

        def next_on(lane: Lane) -> None:
            nonlocal left
            if left and time.perf_counter() < deadline:
                left -= 1
                self._send(lane, next(self._exchanges), time.perf_counter(), next_on)
            elif not self._on_its_way:
                self._over.set_result(None)

        for lane in self._lanes:
            next_on(lane)
        await self._until_over(seconds)
        return self._tally(time.perf_counter() - started)

    async def open_loop(self, *, per_s: float, seconds: float) -> Tally:
        """Send at a fixed rate; a request for which no connection is free counts as sent in time.

        Raises:
            VoidError: an answer is wrong or does not come.
        """
        loop = asyncio.get_running_loop()
        count, idle, started = int(per_s * seconds), deque(self._lanes), time.perf_counter()
        waiting: deque[float] = deque()

        def send_on(lane: Lane, due: float) -> None:
            now = time.perf_counter()
            sent_at = due if now - due > LATE_S else now
            self._send(lane, next(self._exchanges), sent_at, back)

        def back(lane: Lane) -> None:
            if waiting:
                send_on(lane, waiting.popleft())
            elif len(self._latencies) == count:
                self._over.set_result(None)
            else:
                idle.append(lane)

        def fire(due: float) -> None:
            if self._over.done():
                return  # it failed
            if idle:
                send_on(idle.popleft(), due)  # in turn: the gateway cuts who never sends
            else:
                waiting.append(due)

        for number in range(count):
            due_in = number / per_s
            loop.call_later(due_in, fire, started + due_in)
        await self._until_over(seconds)
        return self._tally(time.perf_counter() - started)

    def _send(
        self, lane: Lane, exchange: Exchange, sent_at: float, then: Callable[[Lane], None]
    ) -> None:
        self._on_its_way += 1
        lane.send(exchange.request, partial(self._on_answer, exchange, sent_at, then))

    def _on_answer(
        self,
        exchange: Exchange,
        sent_at: float,
        then: Callable[[Lane], None],
        lane: Lane,
        status: int,
        body: bytes,
    ) -> None:
        self._latencies.append(time.perf_counter() - sent_at)
        self._on_its_way -= 1
        try:
            _ensure_right(exchange, status, body)
        except VoidError as wrong:
            self.fail(str(wrong))
        if not self._over.done():
            then(lane)

    async def _until_over(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds + GRACE_S):
                await self._over
        except TimeoutError as exc:
            raise VoidError(f"{self._on_its_way} requests got no answer") from exc

    def _tally(self, seconds: float) -> Tally:
        return Tally(len(self._latencies), seconds, self._latencies)


@asynccontextmanager
async def connected(
    port: int, *, lanes: int, exchanges: Iterator[Exchange]
) -> AsyncIterator[Client]:
    """Open connections for one run of a `Client`, and close them."""
    opened: list[Lane] = []
    client = Client(opened, exchanges)
    try:
        while len(opened) < lanes:
            lane = await connect(port, lambda: client.fail("a connection was cut"))
            opened.append(lane)
        yield client
    finally:
        for lane in opened:
            lane.close()


async def connect(port: int, lost: Callable[[], None]) -> Lane:
    """Open one connection; `lost` is called if the server ends it."""
    loop = asyncio.get_running_loop()
    _, lane = await loop.create_connection(lambda: Lane(lost), "127.0.0.1", port)
    return lane


def get(path: str, authorization: str = "", *, body: bytes | None = None) -> Exchange:
    """Return a GET that must be answered by 200 and `body`."""
    header = f"Authorization: {authorization}\r\n" if authorization else ""
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n{header}\r\n"
    return Exchange(head.encode(), body=body)


def post(path: str, authorization: str, body: bytes, *, status: int) -> Exchange:
    """Return a POST of JSON that must be answered by `status`."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Exchange(head.encode() + body, status)


def _ensure_right(exchange: Exchange, status: int, body: bytes) -> None:
    if status != exchange.status:
        raise VoidError(f"an answer has status {status}, not {exchange.status}: {body[:200]!r}")
    if exchange.body is not None and body != exchange.body:
        raise VoidError(f"an answer's body is wrong: {body[:80]!r} for {exchange.body[:80]!r}")


def _nothing() -> None:
    return

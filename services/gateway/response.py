"""One answer of a service, parsed and buffered.

An object for each request, never for a connection: two requests that follow each other on a
connection share no state through which one user's answer could reach another.
"""

import asyncio
from collections import deque
from typing import Protocol

import httptools

from services.gateway.errors import BrokenAnswerError, GatewayTimeoutError

HIGH_WATER = 256 * 1024
"""Bytes that any answer may keep waiting here for a slow client."""

MAX_BUFFERED = 16 * 1024 * 1024
"""The same for an answer that gets a share of the `Budget`; then the service is slowed down."""

MAX_READ_ALL = 16 * 1024 * 1024

MAX_HEAD = 64 * 1024


class Carrier(Protocol):
    """The connection that an answer comes from."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read on."""

    def end(self, *, reusable: bool) -> None:
        """Take the connection back; called once."""


class Budget:
    """Bytes beyond `HIGH_WATER` that all answers of an address may keep waiting.

    What is here needs no connection any more: a client that reads slowly takes none from others.
    """

    def __init__(self, size: int = 64 * 1024 * 1024) -> None:
        self.left = size

    def take(self) -> bool:
        """Take a share for one more `HIGH_WATER`; false if there is none left."""
        if self.left < HIGH_WATER:
            return False
        self.left -= HIGH_WATER
        return True


class UpstreamResponse:
    """What a service answers to one request.

    Attributes:
        status: HTTP status; valid once `head` has returned.
        headers: names in lower case, in the order of arrival.
        started: whether any byte of an answer came.
        complete: whether the whole answer is here (perhaps still to be read).
        given_up: whether nobody waits for it any more.
    """

    def __init__(self, carrier: Carrier, *, is_head: bool, budget: Budget | None = None) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        self.complete = False
        self.given_up = False
        self._carrier: Carrier | None = carrier
        self._budget = budget
        self._allowance = HIGH_WATER
        self._is_head = is_head
        self._parser = httptools.HttpResponseParser(self)
        self._head_size = 0
        self._has_head = False
        self._leftover = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_drained(self) -> bool:
        """Whether the whole answer has been read."""
        return self.complete and not self._chunks

    async def head(self, timeout_s: float) -> None:
        """Wait for status and headers.

        Raises:
            GatewayTimeoutError: they did not come in time.
            BrokenAnswerError: what came is no HTTP answer, or the connection ended.
        """
        while not self._has_head:
            await self._wait(timeout_s)

    async def read(self, timeout_s: float) -> bytes:
        """Return what came, in pieces of about `HIGH_WATER`, or wait for it; empty at the end.

        Raises:
            GatewayTimeoutError: nothing came for that long.
            BrokenAnswerError: the answer ended too early.
        """
        while not self._chunks and not self.complete:
            await self._wait(timeout_s)
        if self._buffered > HIGH_WATER:
            data = self._first_chunks()
        else:
            data = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
            self._chunks.clear()
        self._buffered -= len(data)
        if self._paused and self._carrier is not None and self._buffered <= HIGH_WATER:
            self._paused = False
            self._carrier.resume()
        return data

    async def read_all(self, timeout_s: float) -> bytes:
        """Return the whole body, and close.

        Raises:
            GatewayTimeoutError: nothing came for that long.
            BrokenAnswerError: the answer ended too early, or is longer than `MAX_READ_ALL`.
        """
        body = bytearray()
        try:
            while chunk := await self.read(timeout_s):
                body += chunk
                if len(body) > MAX_READ_ALL:
                    raise BrokenAnswerError("the service gave no usable answer; try again")
        finally:
            self.close()
        return bytes(body)

    def close(self) -> None:
        """Give the answer up; a connection that is in the middle of it is closed."""
        self._end(reusable=False)
        if self._budget is not None:
            self._budget.left += self._allowance - HIGH_WATER
            self._allowance = HIGH_WATER

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self.started = True
        if not self._has_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail()
        except httptools.HttpParserError:
            self._leftover = True
            if not self.complete:
                self.fail()
        if self.complete:
            self._end(reusable=not self._leftover and self._keep_alive)
        elif self._head_size > MAX_HEAD and not self._has_head:
            self.fail()
        elif self._buffered > self._allowance and not self._paused and not self._may_keep_more():
            self._pause()
        if self._has_head or self._error:
            self._wake()

    def eof(self) -> None:
        """The connection has ended: that is how an answer without any length ends."""
        if self._has_head and not self.complete and self._ends_with_connection():
            self.complete = True
        if not self.complete:
            self.fail()
        self._end(reusable=False)
        self._wake()

    def fail(self) -> None:
        """The answer cannot be read."""
        self._error = BrokenAnswerError("the service gave no usable answer; try again")
        self._end(reusable=False)
        self._wake()

    def give_up(self) -> None:
        """End whoever reads, as the client has gone; nothing happens to a whole answer."""
        if not self.complete:
            self.given_up = True
            self.fail()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        if self.complete:
            self._leftover = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # after the head they are trailers
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = []
            return
        self.status = status
        self._has_head = True
        self._keep_alive = self._parser.should_keep_alive()
        if self._is_head:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self._leftover = True
            return
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self.complete = True

    _keep_alive = False

    def _ends_with_connection(self) -> bool:
        coding = b""
        for name, value in self.headers:
            if name == b"content-length":
                return False
            if name == b"transfer-encoding":
                coding = value.lower()
        return not coding.endswith(b"chunked")

    def _first_chunks(self) -> bytes:
        chunks, size = [], 0
        while self._chunks and size < HIGH_WATER:
            chunks.append(self._chunks.popleft())
            size += len(chunks[-1])
        return b"".join(chunks)

    def _may_keep_more(self) -> bool:
        if self._budget is None or self._allowance >= MAX_BUFFERED or not self._budget.take():
            return False
        self._allowance += HIGH_WATER
        return True

    def _pause(self) -> None:
        if self._carrier is not None:
            self._paused = True
            self._carrier.pause()

    def _end(self, *, reusable: bool) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            if self._paused:
                carrier.resume()
            carrier.end(reusable=reusable)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, timeout_s: float) -> None:
        if self._error is not None:
            raise self._error
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, _time_out, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._error is not None:
            raise self._error


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        error = GatewayTimeoutError("the service did not answer in time; it may still have acted")
        waiter.set_exception(error)

"""Answers that come as event streams: when their first piece came, and what came in all."""

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import httptools
from typing_extensions import override

from bench.measures import VoidError

DELTA = b"event: message.delta\n"
"""How the gateway begins to tell a piece of a reply."""

_OK = 200


class StreamLane(asyncio.Protocol):
    """A connection with one stream on it at a time.

    Args:
        marker: what the first piece of a text is known by.

    Attributes:
        body: what has come of the present stream, without the framing of HTTP and unpacked.
        received: bytes that its body took on the wire, again without the framing of HTTP.
        first_s: seconds from the request to the first marker, None before it has come.
    """

    def __init__(self, marker: bytes) -> None:
        self.body = bytearray()
        self.received = 0
        self._unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._is_packed = False
        self.first_s: float | None = None
        self._marker = marker
        self._sent_at = 0.0
        self._is_cut = False
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()
        self._is_over = False

    def open(self, request: bytes) -> None:
        """Send a request whose answer is a stream."""
        self.body.clear()
        self.received, self._is_packed = 0, False
        self._unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.first_s, self._is_over = None, False
        self._sent_at = time.perf_counter()
        cast("asyncio.Transport", self._transport).write(request)

    async def begun(self, within_s: float) -> None:
        """Wait for the first piece.

        Raises:
            VoidError: it does not come.
        """
        await self._until(lambda: self.first_s is not None, within_s)

    async def ended(self, within_s: float) -> bytes:
        """Wait for the end, and return the whole body.

        Raises:
            VoidError: the stream is refused, or does not come to its proper end.
        """
        await self._until(lambda: self._is_over, within_s)
        if self._parser.get_status_code() != _OK:
            raise VoidError(f"a stream is refused: {bytes(self.body[:200])!r}")
        return bytes(self.body)

    async def has(self, wanted: bytes, within_s: float) -> None:
        """Wait until that has come.

        Raises:
            VoidError: it does not.
        """
        await self._until(lambda: wanted in self.body, within_s)

    @property
    def is_over(self) -> bool:
        """Whether the present stream has come to its proper end."""
        return self._is_over

    def is_alive(self, sign: bytes) -> bool:
        """Return whether that has come and the stream goes on."""
        return sign in self.body and not self._is_cut and not self._is_over

    def close(self) -> None:
        """Hang up."""
        cast("asyncio.Transport", self._transport).close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._is_cut = True
        self._changed.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note whether the body is packed; the parser calls it."""
        if name.lower() == b"content-encoding":
            self._is_packed = value == b"gzip"

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body; the parser calls it."""
        self.received += len(part)
        self.body += self._unpack.decompress(part) if self._is_packed else part
        self._changed.set()
        if self.first_s is None and self._marker in self.body:
            self.first_s = time.perf_counter() - self._sent_at

    def on_message_complete(self) -> None:
        """Note the proper end; the parser calls it."""
        self._is_over = True
        self._changed.set()

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    if self._is_cut:
                        raise VoidError("a stream was cut")
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError as exc:
            raise VoidError(f"a stream is silent after {bytes(self.body[-200:])!r}") from exc


@asynccontextmanager
async def stream_lanes(
    port: int, *, lanes: int, marker: bytes = DELTA
) -> AsyncIterator[list[StreamLane]]:
    """Open connections for streams, and close them in the end."""
    loop = asyncio.get_running_loop()
    opened: list[StreamLane] = []
    try:
        while len(opened) < lanes:
            _, lane = await loop.create_connection(lambda: StreamLane(marker), "127.0.0.1", port)
            opened.append(lane)
        yield opened
    finally:
        for lane in opened:
            lane.close()


def pieces(body: bytes | bytearray) -> Iterator[str]:
    """Yield the pieces of text of a reply's stream as far as it has come, in their order.

    Raises:
        VoidError: a piece does not continue what came before it.
    """
    at = 0
    for event in bytes(body).split(b"\n\n")[:-1]:
        if event.startswith(DELTA):
            data = json.loads(event.rpartition(b"\ndata: ")[2])
            if data["offset"] != at:
                raise VoidError(f"a piece begins at {data['offset']}, not at {at}")
            at += len(data["text"])
            yield data["text"]

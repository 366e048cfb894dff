"""WebSockets as a client holds them, without a task for each: there may be a thousand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from bench.measures import VoidError


class SocketLane(asyncio.Protocol):
    """One WebSocket; pings are answered.

    Attributes:
        frames: the text frames that have come, as JSON.
    """

    def __init__(self, url: str) -> None:
        self.frames: list[dict[str, Any]] = []
        self._is_cut = False
        self._protocol = ClientProtocol(parse_uri(url))
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()

    async def ask(self, frame: dict[str, Any], within_s: float = 10) -> None:
        """Send a frame and wait until it is answered with `ok`.

        Raises:
            VoidError: it is refused, or the connection ends.
        """
        known = len(self.frames)
        try:
            async with asyncio.timeout(within_s):
                while self._protocol.state is State.CONNECTING:
                    await self._next()
                self._protocol.send_text(json.dumps(frame).encode())
                self._flush()
                while not any(answer["op"] != "event" for answer in self.frames[known:]):
                    await self._next()
        except TimeoutError as exc:
            raise VoidError(f"a WebSocket does not answer {frame['op']}") from exc
        if not any(answer["op"] == "ok" for answer in self.frames[known:]):
            raise VoidError(f"a WebSocket refuses {frame['op']}: {self.frames[known:]}")

    def is_alive(self) -> bool:
        """Return whether it goes on."""
        return not self._is_cut

    def close(self) -> None:
        """Hang up."""
        cast("asyncio.Transport", self._transport).close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    @override
    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.frames.append(json.loads(bytes(event.data)))
        self._flush()
        self._changed.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._is_cut = True
        self._changed.set()

    async def _next(self) -> None:
        if self._is_cut:
            raise VoidError("a WebSocket was cut")
        await self._changed.wait()
        self._changed.clear()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            cast("asyncio.Transport", self._transport).write(data)


@asynccontextmanager
async def socket_lanes(port: int, *, lanes: int) -> AsyncIterator[list[SocketLane]]:
    """Open WebSockets at `/ws`, and close them in the end."""
    loop, url = asyncio.get_running_loop(), f"ws://127.0.0.1:{port}/ws"
    opened: list[SocketLane] = []
    try:
        while len(opened) < lanes:
            _, lane = await loop.create_connection(lambda: SocketLane(url), "127.0.0.1", port)
            opened.append(lane)
        yield opened
    finally:
        for lane in opened:
            lane.close()

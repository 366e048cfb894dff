"""A client of the WebSocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Event = dict[str, Any]


class Socket:
    """A connection: what came first is read first."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **frame: Any) -> None:
        await self.connection.send(orjson.dumps(frame, default=str).decode())

    async def next(self) -> Event:
        frame: Event = orjson.loads(await self.connection.recv())
        return frame

    async def ask(self, **frame: Any) -> Event:
        """Send a frame and return its answer; events that come before it are dropped."""
        await self.send(id="q", **frame)
        while (answer := await self.next())["op"] == "event":
            pass
        return answer

    async def events(self, subscription: str) -> AsyncIterator[Event]:
        """Yield a subscription's events up to its last; `id` is the cursor."""
        while True:
            frame = await self.next()
            if frame["op"] == "event" and frame["subscription"] == subscription:
                yield {**frame["event"], **({"id": frame["cursor"]} if frame["cursor"] else {})}
                if frame["event"]["type"] in ENDS:
                    return

    async def close_code(self) -> int:
        """Read until the server closes."""
        with suppress(ConnectionClosed):
            while True:
                await self.connection.recv()
        return self.connection.close_code or 0


ENDS = {"generation.completed", "generation.failed", "generation.stopped", "stream.reconnect"}


@asynccontextmanager
async def socket_to(
    client: httpx2.AsyncClient, token: str | None = None, query: str = "", **options: Any
) -> AsyncIterator[Socket]:
    """Connect to the gateway of `client`; with a token, log in."""
    options.setdefault("max_queue", None)  # a full one would keep the close frame out
    url = str(client.base_url).replace("http://", "ws://").rstrip("/")
    async with connect(
        f"{url}/ws{query}",
        subprotocols=[Subprotocol("thoughtflow.v1")],
        compression=None,
        **options,
    ) as connection:
        socket = Socket(connection)
        if token is not None:
            answer = await socket.ask(op="auth", token=token)
            assert answer["op"] == "ok", answer
        yield socket

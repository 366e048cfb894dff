"""Event streams over HTTP, whatever they tell and however it is written."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from services.gateway.metrics import connected


class Following(Protocol):
    """What one connection is told."""

    def events(self) -> AsyncIterator[bytes]:
        """Yield what to send next, until there is no more or the client has left."""

    def leave(self) -> None:
        """The client has gone: `events` ends soon, without an error."""

    async def close(self) -> None:
        """Let go of what it holds; `events` is over."""


class EventStream(Response):
    """Sends what `following` yields, and ends with it, or when the client goes.

    Args:
        before: sent first.
        after: sent last, unless the client has gone.
        headers: besides those of every event stream.
        compress: whether to, for a client that takes gzip. A reply's events differ in little but
            their text; a feed is mostly silent, and a compressor would only hold memory.
    """

    def __init__(
        self,
        following: Following,
        *,
        before: bytes = b"",
        after: bytes = b"",
        headers: Mapping[str, str] | None = None,
        compress: bool = True,
    ) -> None:
        super().__init__(
            headers={
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                "Vary": "Accept-Encoding",
                **(headers or {}),
            },
            media_type="text/event-stream",
        )
        del self.headers["content-length"]
        self._following = following
        self._before = before
        self._after = after
        self._compress = compress

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(leave_when_gone(receive, self._following))
        packed = _Packed() if self._compress and _takes_gzip(scope) else None
        if packed is not None:
            self.headers["Content-Encoding"] = "gzip"

        async def write(events: bytes, *, more: bool = True) -> None:
            body = events if packed is None else packed.pack(events, more=more)
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            with connected("event_stream"):
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                if self._before:
                    await write(self._before)
                async for events in self._following.events():
                    await write(events)
                await write(self._after, more=False)
        finally:
            watch.cancel()
            await self._following.close()


class _Packed:
    """Gzip of which each part can be read at once, by a compressor of 24 KiB instead of 268."""

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(wbits=16 + 12, memLevel=4)

    def pack(self, events: bytes, *, more: bool) -> bytes:
        """Return `events` as the next part, or the last."""
        # Shorter than Z_SYNC_FLUSH, which begins at a byte anew; readers need not do that.
        flush = zlib.Z_PARTIAL_FLUSH if more else zlib.Z_FINISH
        return self._gzip.compress(events) + self._gzip.flush(flush)


def _takes_gzip(scope: Scope) -> bool:
    """Tell whether the client takes gzip, which it may also refuse by `q=0`."""
    for coding in Headers(scope=scope).get("accept-encoding", "").split(","):
        name, _, weight = coding.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


async def leave_when_gone(receive: Receive, following: Following) -> None:
    """Let `following` end once the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
    following.leave()

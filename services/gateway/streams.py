"""Event streams over HTTP, whatever they tell and however it is written."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override


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
    """

    def __init__(
        self,
        following: Following,
        *,
        before: bytes = b"",
        after: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            headers={
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                **(headers or {}),
            },
            media_type="text/event-stream",
        )
        del self.headers["content-length"]
        self._following = following
        self._before = before
        self._after = after

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(leave_when_gone(receive, self._following))
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            if self._before:
                await send(_part(self._before))
            async for events in self._following.events():
                await send(_part(events))
            await send({"type": "http.response.body", "body": self._after})
        finally:
            watch.cancel()
            await self._following.close()


async def leave_when_gone(receive: Receive, following: Following) -> None:
    """Let `following` end once the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
    following.leave()


def _part(events: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": events, "more_body": True}

"""A response as a list of steps, and the ASGI response that plays it."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from deploy.local.gemini.journal import Entry


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, unless the client goes away first."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    """Send body bytes; the headers go with the first."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more until the client goes away."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection in the middle of the body."""


Step = Pause | Write | Hang | Drop


@dataclass(frozen=True, slots=True)
class Plan:
    """A response to play; `steps` can be played once."""

    steps: Iterator[Step]
    status: int = 200
    media_type: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)


class Audience:
    """The calls being answered, so that a stopping server can hang up on them."""

    def __init__(self) -> None:
        self._watches: set[asyncio.Task[None]] = set()

    def watch(self, receive: Receive) -> asyncio.Task[None]:
        """Start a task that ends when the client has gone or the server stops."""
        task = asyncio.create_task(_until_gone(receive))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        return task

    def hang_up(self) -> None:
        """End every watch, which ends every response in progress."""
        for task in self._watches:
            task.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Played(Response):
    """Play a plan and keep its journal entry."""

    def __init__(self, plan: Plan, entry: Entry, audience: Audience) -> None:
        super().__init__(None, plan.status, plan.headers, plan.media_type)
        # The length is not known before the end; without it the server sends chunks.
        del self.headers["content-length"]
        self._plan = plan
        self._entry = entry
        self._audience = audience
        entry.status = plan.status

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = self._audience.watch(receive)
        try:
            if await self._play(gone, send):
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._entry.close()
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _play(self, gone: asyncio.Task[None], send: Send) -> bool:
        """Return whether the body came to its proper end.

        Leaving without that end makes uvicorn close the connection, which is what Drop wants.
        """
        for step in self._plan.steps:
            match step:
                case Pause(0):
                    await asyncio.sleep(0)  # let other calls have their turn
                case Pause(seconds):
                    await asyncio.wait({gone}, timeout=seconds)
                case Write(data):
                    await self._start(send)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                    self._entry.chunks += 1
                case Hang():
                    await asyncio.wait({gone})
                case Drop():
                    await self._start(send)
                    return False
            if gone.done():
                self._entry.aborted = True
                return False
        return True

    async def _start(self, send: Send) -> None:
        if not self._entry.started:
            self._entry.started = True
            start = {"type": "http.response.start", "status": self.status_code}
            await send({**start, "headers": self.raw_headers})

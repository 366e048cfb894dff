"""One connection to Redis: commands and replies in order, and what a subscriber is told."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import hiredis
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - what callers of redis-py catch
    NoScriptError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)
from typing_extensions import override

Argument = str | bytes | int | float
MAX_WAITING = 10_000
"""Commands that may wait for their replies; more of them would only wait longer."""

_GRACE_S = 0.05
_NOTHING = object()


async def connect(
    url: str, *, timeout_s: float, on_push: Callable[[Any], None] | None = None
) -> "Link":
    """Return an open, authenticated connection.

    Args:
        url: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
        timeout_s: how long this, and later each command, may take.
        on_push: gets what arrives while no command waits, which is what a subscriber is told, e.g.
            `[b"message", b"channel", b"data"]`. It must not raise.

    Raises:
        redis.exceptions.ConnectionError, TimeoutError: there is none.
        redis.exceptions.ResponseError: the server refused us.
    """
    parsed = urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_connection(
                lambda: Link(timeout_s, on_push),
                parsed.hostname or "127.0.0.1",
                parsed.port or 6379,
                ssl=parsed.scheme == "rediss" or None,
            )
            try:
                if parsed.password:
                    user = (unquote(parsed.username),) if parsed.username else ()
                    await link.ask(("AUTH", *user, unquote(parsed.password)))
                if (database := parsed.path.strip("/")) not in {"", "0"}:
                    await link.ask(("SELECT", database))
            except BaseException:
                link.give_up(ConnectionError("the connection was not accepted"))
                raise
    except OSError as exc:  # the built-in TimeoutError is one
        raise ConnectionError("Redis cannot be reached") from exc
    return link


class Link(asyncio.Protocol):
    """One connection and what waits for its replies, in order.

    Attributes:
        lost: nothing can be asked any more.
    """

    def __init__(self, timeout_s: float, on_push: Callable[[Any], None] | None = None) -> None:
        self.lost = False
        self._on_push = on_push
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._suspect = False  # a reply is overdue, or our loop was too slow to read it

    async def ask(self, args: Sequence[Argument]) -> Any:
        """Send a command with the others of this turn of the loop, and wait for its reply."""
        if self.lost:
            raise ConnectionError("the connection is lost")
        if len(self._waiting) >= MAX_WAITING:
            raise ConnectionError("too many commands wait for Redis")
        self._queue(args)
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((self._loop.time() + self._timeout_s, reply))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check)
        return await reply

    def tell(self, *args: Argument) -> None:
        """Send a command that has no reply of its own, such as a subscriber's."""
        if not self.lost:
            self._queue(args)

    async def closed(self) -> None:
        """Wait for the end of the connection."""
        await asyncio.shield(self._end)

    def give_up(self, error: RedisError) -> None:
        """Close the connection; whatever waits gets `error`."""
        self.lost = True
        if not self._end.done():
            self._end.set_result(None)
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            _, reply = self._waiting.popleft()
            if not reply.done():
                reply.set_exception(error)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of create_connection it is one

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up(ConnectionError("the connection is lost"))

    @override
    def data_received(self, data: bytes) -> None:
        self._suspect = False
        self._reader.feed(data)
        try:
            while (value := self._reader.gets()) is not _NOTHING and not self.lost:
                if not self._waiting:
                    if self._on_push is not None:
                        self._on_push(value)
                    continue
                _, reply = self._waiting.popleft()
                if reply.done():
                    continue  # who asked was cancelled; the reply had to be read all the same
                if isinstance(value, hiredis.ReplyError):
                    reply.set_exception(_error(str(value)))
                else:
                    reply.set_result(value)
        except hiredis.ProtocolError:
            self.give_up(ConnectionError("the server does not speak Redis's protocol"))

    def _queue(self, args: Sequence[Argument]) -> None:
        packed = hiredis.pack_command(tuple(args))  # type: ignore[arg-type] # its stub says 1-tuple
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(packed)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(unsent))

    def _check(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        due_at = self._waiting[0][0]
        if due_at > self._loop.time():
            self._timer = self._loop.call_at(due_at, self._check)
        elif self._suspect:
            self.give_up(TimeoutError("Redis does not answer"))
        else:
            self._suspect = True
            self._timer = self._loop.call_later(_GRACE_S, self._check)


def _error(text: str) -> ResponseError:
    kind = NoScriptError if text.startswith("NOSCRIPT") else ResponseError
    return kind(text)

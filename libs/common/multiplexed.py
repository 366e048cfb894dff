"""A Redis client for hot paths: every command of a process goes over one connection.

redis-py costs 90 to 170 us of CPU a command, because each one borrows a connection and waits for
its own read; here commands of concurrent requests share writes and reads, for a tenth of that.
Blocking commands, transactions and subscriptions have no place on a shared connection: for those
there is redis-py.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Protocol
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

_PAUSE_S = 0.1
_GRACE_S = 0.05
_NOTHING = object()


class Script(Protocol):
    """A Lua script that the server keeps under its digest."""

    async def __call__(self, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run it."""
        ...


class Commands(Protocol):
    """What hot paths need of a client; redis-py's has it too."""

    async def execute_command(self, *args: Any) -> Any:
        """Run one command and return its reply."""
        ...

    def register_script(self, script: str) -> Script:
        """Return a script to call."""
        ...


class MultiplexedRedis:
    """One connection, opened by the first command and again by the first one after its loss.

    Args:
        url: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
        timeout_s: how long a command, or a connection, may take. A connection on which one took
            longer is given up with all that waits on it, for replies come in order.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        parsed = urlsplit(url)
        self._host = parsed.hostname or "127.0.0.1"
        self._port = parsed.port or 6379
        self._tls = parsed.scheme == "rediss"
        self._user = unquote(parsed.username or "")
        self._password = unquote(parsed.password or "")
        self._database = parsed.path.strip("/")
        self._timeout_s = timeout_s
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None
        self._not_before = 0.0
        self._closed = False

    async def execute_command(self, *args: Argument) -> Any:
        """Run one command and return its reply: bytes, int, None or a list of them.

        Raises:
            redis.exceptions.ConnectionError: there is no connection; the command may have run.
            redis.exceptions.TimeoutError: no reply in time; the command may have run.
            redis.exceptions.ResponseError: the server refused the command.
        """
        link = self._link
        if link is None or link.lost:
            link = await self._connected()
        return await link.ask(args)

    def register_script(self, script: str) -> Script:
        """Return a script, sent by its digest and whole where the server does not know it."""
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()

        async def run(keys: Sequence[str], args: Sequence[Argument]) -> Any:
            try:
                return await self.execute_command("EVALSHA", digest, len(keys), *keys, *args)
            except NoScriptError:
                return await self.execute_command("EVAL", script, len(keys), *keys, *args)

        return run

    async def aclose(self) -> None:
        """Close the connection; what waits on it fails, and so does what comes later."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.give_up(ConnectionError("the client is closed"))

    async def _connected(self) -> "_Link":
        """Return a new connection, or the one that somebody else opens just now."""
        if self._closed:
            raise ConnectionError("the client is closed")
        if self._connecting is None:
            if asyncio.get_running_loop().time() < self._not_before:
                raise ConnectionError("Redis was away a moment ago")
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._end_connecting)
        return await asyncio.shield(self._connecting)

    def _end_connecting(self, task: "asyncio.Task[_Link]") -> None:
        self._connecting = None
        if task.cancelled() or task.exception() is not None:
            self._not_before = asyncio.get_running_loop().time() + _PAUSE_S
        else:
            self._link = task.result()

    async def _connect(self) -> "_Link":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, link = await loop.create_connection(
                    lambda: _Link(self._timeout_s), self._host, self._port, ssl=self._tls or None
                )
                try:
                    await self._greet(link)
                except BaseException:
                    link.give_up(ConnectionError("the connection was not accepted"))
                    raise
        except OSError as exc:  # the built-in TimeoutError is one
            raise ConnectionError("Redis cannot be reached") from exc
        return link

    async def _greet(self, link: "_Link") -> None:
        if self._password:
            user = (self._user,) if self._user else ()
            await link.ask(("AUTH", *user, self._password))
        if self._database not in {"", "0"}:
            await link.ask(("SELECT", self._database))


class _Link(asyncio.Protocol):
    """One connection and what waits for its replies, in order."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = False
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
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
        packed = hiredis.pack_command(tuple(args))  # type: ignore[arg-type] # its stub says 1-tuple
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(packed)
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((self._loop.time() + self._timeout_s, reply))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check)
        return await reply

    def give_up(self, error: RedisError) -> None:
        """Close the connection; whatever waits gets `error`."""
        self.lost = True
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
            while (value := self._reader.gets()) is not _NOTHING and self._waiting:
                _, reply = self._waiting.popleft()
                if reply.done():
                    continue  # who asked was cancelled; the reply had to be read all the same
                if isinstance(value, hiredis.ReplyError):
                    reply.set_exception(_error(str(value)))
                else:
                    reply.set_result(value)
        except hiredis.ProtocolError:
            self.give_up(ConnectionError("the server does not speak Redis's protocol"))

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

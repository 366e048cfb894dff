"""A Redis client for hot paths: every command of a process goes over one connection.

redis-py costs 90 to 170 us of CPU a command, because each one borrows a connection and waits for
its own read; here commands of concurrent requests share writes and reads, for a tenth of that.
Blocking commands, transactions and subscriptions have no place on a shared connection: for those
there is redis-py.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Protocol

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - what callers of redis-py catch
    NoScriptError,
)

from libs.common.redis_link import Argument, Link, connect

_PAUSE_S = 0.1


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
        self._url = url
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
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

    async def _connected(self) -> "Link":
        """Return a new connection, or the one that somebody else opens just now."""
        if self._closed:
            raise ConnectionError("the client is closed")
        if self._connecting is None:
            if asyncio.get_running_loop().time() < self._not_before:
                raise ConnectionError("Redis was away a moment ago")
            self._connecting = asyncio.create_task(connect(self._url, timeout_s=self._timeout_s))
            self._connecting.add_done_callback(self._end_connecting)
        return await asyncio.shield(self._connecting)

    def _end_connecting(self, task: "asyncio.Task[Link]") -> None:
        self._connecting = None
        if task.cancelled() or task.exception() is not None:
            self._not_before = asyncio.get_running_loop().time() + _PAUSE_S
        else:
            self._link = task.result()

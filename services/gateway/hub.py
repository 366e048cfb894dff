"""One Redis subscriber for all live replies that this process shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.exceptions import ConnectionError  # noqa: A004

from libs.common.background import in_background
from libs.common.redis_link import Link, connect

log = structlog.stdlib.get_logger()
MAX_QUEUED = 256
"""Entries that a listener may be behind; then it reads the stream again instead."""

_PING_INTERVAL_S = 15.0
_RECONNECT_S = 0.5


class Listener:
    """What arrives for one connection: entries, or the word that some were lost.

    One at a time waits for it. Most of them wait most of the time, so it keeps neither an
    `asyncio.Event` nor a `deque`: each takes 0.7 KiB, however little is in it.
    """

    __slots__ = ("_awake", "_behind", "_entries", "_waiter", "gone", "unsure")

    def __init__(self) -> None:
        self.gone = False
        self.unsure = False  # whether Redis had confirmed the subscription when it began
        self._behind = False
        self._entries: list[bytes] = []
        self._awake = False
        self._waiter: asyncio.Future[None] | None = None

    def push(self, entry: bytes) -> None:
        """Queue "<id> <json>"."""
        if len(self._entries) >= MAX_QUEUED:
            self.fall_behind()
        elif not self._behind:
            self._entries.append(entry)
            self.nudge()

    def fall_behind(self) -> None:
        """Entries were lost: what is queued is of no use."""
        self._entries.clear()
        self._behind = True
        self.nudge()

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True
        self.nudge()

    def nudge(self) -> None:
        """Let `wait` return."""
        self._awake = True
        if self._waiter is not None:
            _settle(self._waiter)

    async def wait(self, timeout_s: float) -> None:
        """Return as soon as there is something, or after the timeout."""
        if self._awake:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, _settle, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def take(self) -> list[bytes]:
        """Return what is queued."""
        entries, self._entries = self._entries, []
        if not self.gone and not self._behind:
            self._awake = False
        return entries

    def catch_up(self) -> bool:
        """Return whether entries were lost since the last call; from now on they are queued."""
        behind, self._behind = self._behind, False
        if behind and not self._entries and not self.gone:
            self._awake = False
        return behind


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _undecided() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class _Channel:
    listeners: set[Listener] = field(default_factory=set)
    ready: "asyncio.Future[None]" = field(default_factory=_undecided)


class Hub:
    """Hands what is published on a channel to whoever listens to it in this process.

    Args:
        url: of Redis.
        timeout_s: how long connecting may take.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._channels: dict[str, _Channel] = {}
        self._link: Link | None = None  # while there is none, whoever connects subscribes to all
        self._has_heard = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read in the background while the block runs."""
        async with in_background(self._run()):
            yield

    async def join(self, key: str, *, timeout_s: float = 2.0) -> Listener:
        """Return a listener that misses nothing published from now on; `part` from it in the end.

        If Redis does not confirm within `timeout_s`, the listener is told later that it is behind.
        """
        listener = Listener()
        channel = self._channels.get(key)
        if channel is None:
            # With its listener from the start: a channel without any is dropped once confirmed.
            channel = self._channels[key] = _Channel({listener})
            self._tell("SUBSCRIBE", key)
        channel.listeners.add(listener)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(channel.ready)
        except TimeoutError:
            listener.unsure = True
        return listener

    def part(self, key: str, listener: Listener) -> None:
        """Forget a listener; the last one of a channel takes the subscription along."""
        channel = self._channels.get(key)
        if channel is None:
            return
        channel.listeners.discard(listener)
        # One that is not confirmed yet stays until then: a late confirmation must not be taken for
        # that of a new subscription.
        if not channel.listeners and channel.ready.done():
            del self._channels[key]
            self._tell("UNSUBSCRIBE", key)

    def _tell(self, command: str, *channels: str) -> None:
        if self._link is not None:
            self._link.tell(command, *channels)

    async def _run(self) -> None:
        while True:
            try:
                await self._subscribe_and_hear()
            except Exception as exc:  # noqa: BLE001 - without it live replies end for good
                log.warning("subscriber_lost", error=type(exc).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _subscribe_and_hear(self) -> None:
        link = await connect(self._url, timeout_s=self._timeout_s, on_push=self._on_push)
        try:
            self._link = link
            if self._channels:
                self._tell("SUBSCRIBE", *self._channels)
            while True:
                self._has_heard = False
                self._tell("PING")
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PING_INTERVAL_S):
                        await link.closed()
                        raise ConnectionError("the connection is lost")
                if not self._has_heard:
                    raise TimeoutError("no answer to a ping")
        finally:
            self._link = None
            self._lose()
            link.give_up(ConnectionError("nobody listens any more"))

    def _on_push(self, push: object) -> None:
        self._has_heard = True
        try:
            self._hear(push)
        except Exception:
            log.exception("subscriber_failed")
            if self._link is not None:
                self._link.give_up(ConnectionError("what it said was not understood"))

    def _hear(self, push: Any) -> None:
        kind, *rest = push  # raises for an error, which is no list
        if kind == b"message":
            channel = self._channels.get(rest[0].decode())
            for listener in channel.listeners if channel is not None else ():
                listener.push(rest[1])
        elif kind == b"subscribe":
            key = rest[0].decode()
            channel = self._channels.get(key)
            if channel is not None:
                self._confirm(key, channel)

    def _confirm(self, key: str, channel: _Channel) -> None:
        _settle(channel.ready)
        if not channel.listeners:
            del self._channels[key]
            self._tell("UNSUBSCRIBE", key)
            return
        for listener in channel.listeners:
            if listener.unsure:
                listener.unsure = False
                listener.fall_behind()

    def _lose(self) -> None:
        for key, channel in list(self._channels.items()):
            if channel.ready.done():
                channel.ready = _undecided()
            if not channel.listeners:
                del self._channels[key]
            for listener in channel.listeners:
                listener.unsure = True
                listener.fall_behind()

"""One Redis subscriber for all live replies that this process shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from libs.common.background import in_background

log = structlog.stdlib.get_logger()
MAX_QUEUED = 256
"""Entries that a listener may be behind; then it reads the stream again instead."""

_OWN_CHANNEL = "gateway:hub"  # redis-py reads from a subscriber only once it has subscribed
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
        redis: a client of its own without a read timeout; a silent subscriber is no error.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._channels: dict[str, _Channel] = {}
        self._pubsub: PubSub | None = None

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
            await self._tell_redis(subscribe=key)
        channel.listeners.add(listener)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(channel.ready)
        except TimeoutError:
            listener.unsure = True
        return listener

    async def part(self, key: str, listener: Listener) -> None:
        """Forget a listener; the last one of a channel takes the subscription along."""
        channel = self._channels.get(key)
        if channel is None:
            return
        channel.listeners.discard(listener)
        # One that is not confirmed yet stays until then: a late confirmation must not be taken for
        # that of a new subscription.
        if not channel.listeners and channel.ready.done():
            del self._channels[key]
            await self._tell_redis(unsubscribe=key)

    async def _tell_redis(self, *, subscribe: str = "", unsubscribe: str = "") -> None:
        if self._pubsub is None:
            return  # whoever reconnects subscribes to everything
        try:
            if subscribe:
                await self._pubsub.subscribe(subscribe)
            else:
                await self._pubsub.unsubscribe(unsubscribe)
        except RedisError:
            log.debug("subscriber_unreachable")  # the reader meets the same error and reconnects

    async def _run(self) -> None:
        while True:
            try:
                await self._subscribe_and_read()
            except Exception as exc:  # noqa: BLE001 - without it live replies end for good
                log.warning("subscriber_lost", error=type(exc).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _subscribe_and_read(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(_OWN_CHANNEL)
            self._pubsub = pubsub
            if self._channels:
                await pubsub.subscribe(*self._channels)
            await self._read(pubsub)
        finally:
            self._pubsub = None
            self._lose()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _read(self, pubsub: PubSub) -> None:
        silent = False
        while True:
            message = await pubsub.get_message(timeout=_PING_INTERVAL_S)
            if message is None:
                if silent:
                    raise TimeoutError("no answer to a ping")
                silent = True
                await pubsub.ping()
                continue
            silent = False
            key = message["channel"].decode() if message["channel"] else ""
            channel = self._channels.get(key)
            if channel is None:
                continue
            if message["type"] == "subscribe":
                await self._confirm(key, channel)
            elif message["type"] == "message":
                for listener in channel.listeners:
                    listener.push(message["data"])

    async def _confirm(self, key: str, channel: _Channel) -> None:
        _settle(channel.ready)
        if not channel.listeners:
            del self._channels[key]
            await self._tell_redis(unsubscribe=key)
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

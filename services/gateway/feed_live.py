"""The live view of a user's feed: what a device missed, then what comes."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import orjson
import structlog
from redis.exceptions import RedisError

from libs.common.errors import SessionRevokedError, UnavailableError
from libs.common.identity import Identity
from services.gateway.events import (
    STREAM_READY,
    STREAM_RESET,
    Document,
    farewell,
    ready,
    reset,
    with_cursor,
)
from services.gateway.feed import feed_key
from services.gateway.hub import Listener
from services.gateway.lifetime import Lifetime
from services.gateway.replay import SSE, StreamEntry, Wire, id_order
from services.gateway.resources import Resources

log = structlog.stdlib.get_logger()
MAX_POLLED = 100
"""Events in one answer to a poll at most."""

_RETRY_S = 1.0


async def open_feed(
    res: Resources,
    user_id: UUID,
    cursor: str | None,
    wire: Wire = SSE,
    *,
    login: Identity | None = None,
) -> "LiveFeed":
    """Return what a device is told that has seen the feed up to `cursor`; close it in the end.

    Args:
        res: the gateway's resources.
        user_id: whose feed it is.
        cursor: None from now on.
        wire: how it is written.
        login: as `View` has it.

    Raises:
        UnavailableError: the feed cannot be read now.
    """
    listener = await res.hub.join(feed_key(user_id))
    try:
        feed = LiveFeed(res, user_id, listener, wire, login)
        await feed.begin(cursor)
    except RedisError as exc:
        res.hub.part(feed_key(user_id), listener)
        raise _unreadable(exc) from exc
    except BaseException:
        res.hub.part(feed_key(user_id), listener)
        raise
    return feed


async def poll_feed(res: Resources, login: Identity, cursor: str | None, wait_s: float) -> Document:
    """Return the caller's events behind `cursor`, waiting for the first up to `wait_s` seconds.

    Raises:
        SessionRevokedError: the caller's login ended meanwhile.
        UnavailableError: the feed cannot be read now.
    """
    user_id = login.user_id
    try:
        if cursor is None:
            last = await res.feed.last_id(user_id)
            return {"data": [], "cursor": last, "has_more": False}
        answer = await _poll(res, user_id, cursor)
        if not answer["data"] and wait_s > 0:
            listener = await res.hub.join(feed_key(user_id))
            try:
                answer = await _poll(res, user_id, cursor)  # what came before it listened
                if not answer["data"] and not res.draining.started:
                    waking = res.sessions.waking(login.session_id, listener.nudge)
                    with res.draining.waking(listener.nudge), waking:
                        await listener.wait(wait_s)
                    if res.sessions.has_ended(login.session_id):
                        raise SessionRevokedError
                    answer = await _poll(res, user_id, cursor)
            finally:
                res.hub.part(feed_key(user_id), listener)
    except RedisError as exc:
        raise _unreadable(exc) from exc
    return answer


async def _poll(res: Resources, user_id: UUID, cursor: str) -> Document:
    entries = await res.feed.read_after(user_id, cursor, limit=MAX_POLLED + 1)
    if entries is None:
        last = await res.feed.last_id(user_id)
        return {
            "data": [reset(last, reason="cursor_expired")],
            "cursor": last,
            "has_more": False,
        }
    page = entries[:MAX_POLLED]
    return {
        "data": [with_cursor(entry.id, entry.document) for entry in page],
        "cursor": page[-1].id if page else cursor,
        "has_more": len(entries) > len(page),
    }


def _unreadable(exc: RedisError) -> UnavailableError:
    log.warning("feed_unreadable", error=type(exc).__name__)
    return UnavailableError(
        "events cannot be read right now; try again", headers={"Retry-After": "1"}
    )


class LiveFeed:
    """What one device is told, for as long as it listens."""

    def __init__(
        self,
        res: Resources,
        user_id: UUID,
        listener: Listener,
        wire: Wire,
        login: Identity | None,
    ) -> None:
        self._res = res
        self._user_id = user_id
        self._listener = listener
        self._wire = wire
        self._login = login
        self._cursor = ""
        self._behind = False
        self._first = b""

    async def begin(self, cursor: str | None) -> None:
        """Look where the device stands; raises RedisError while that cannot be known."""
        if cursor is None:
            self._cursor = await self._res.feed.last_id(self._user_id)
            settings = self._res.settings
            document = ready(
                self._cursor,
                heartbeat_s=settings.heartbeat_s,
                max_age_s=settings.stream_max_age_s,
            )
            self._first = self._wire.encode(STREAM_READY, document, entry_id=self._cursor)
        else:
            self._cursor = cursor
            self._first = await self._read_again("cursor_expired")

    def leave(self) -> None:
        """The client has gone."""
        self._listener.leave()

    async def close(self) -> None:
        """Listen no longer."""
        self._res.hub.part(feed_key(self._user_id), self._listener)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what to send next; no Redis command is ever cancelled in the middle."""
        lifetime = Lifetime(
            self._res.draining,
            self._res.sessions,
            born=asyncio.get_running_loop().time(),
            max_age_s=self._res.settings.stream_max_age_s,
            login=self._login,
        )
        with lifetime.waking(self._listener.nudge):
            async for events in self._events(lifetime):
                yield events

    async def _events(self, lifetime: Lifetime) -> AsyncIterator[bytes]:
        settings, clock = self._res.settings, asyncio.get_running_loop().time
        sent_at = clock()
        yield self._first or self._wire.heartbeat
        self._first = b""
        while not self._listener.gone:
            if (reason := lifetime.ending(clock())) is not None:
                session_id = self._login.session_id if self._login else None
                last = farewell(self._cursor, reason=reason, session_id=session_id)
                yield self._wire.encode(last["type"], last)
                return
            due = min(sent_at + settings.heartbeat_s, lifetime.ends_at)
            wait_s = min(due - clock(), _RETRY_S) if self._behind else due - clock()
            await self._listener.wait(max(0.0, wait_s))
            events = await self._news()
            if not events and clock() - sent_at >= settings.heartbeat_s:
                sent_at = clock()  # also where the wire has no heartbeat
                events = self._wire.heartbeat
            if events:
                sent_at = clock()
                yield events

    async def _news(self) -> bytes:
        self._behind |= self._listener.catch_up()
        entries = self._listener.take()
        if not self._behind:
            return b"".join(self._tell(_parsed(entry)) for entry in entries)
        try:
            events = await self._read_again("slow_consumer")
        except RedisError as exc:
            log.warning("feed_unreadable", error=type(exc).__name__)
            return b""
        self._behind = False
        return events

    async def _read_again(self, reason: str) -> bytes:
        entries = await self._res.feed.read_after(self._user_id, self._cursor)
        if entries is not None:
            return b"".join(self._tell(entry) for entry in entries)
        self._cursor = await self._res.feed.last_id(self._user_id)
        document = reset(self._cursor, reason=reason)
        return self._wire.encode(STREAM_RESET, document, entry_id=self._cursor)

    def _tell(self, entry: StreamEntry) -> bytes:
        if id_order(entry.id) <= id_order(self._cursor):
            return b""
        self._cursor = entry.id
        document = with_cursor(entry.id, entry.document)
        return self._wire.encode(document["type"], document, entry_id=entry.id)


def _parsed(entry: bytes) -> StreamEntry:
    entry_id, _, document = entry.partition(b" ")
    return StreamEntry(entry_id.decode(), orjson.loads(document))

"""The live view of one reply: what is there, then what comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

import orjson
import structlog
from redis.exceptions import RedisError

from libs.common.errors import NotFoundError, ThoughtflowError
from libs.common.identity import Identity
from libs.common.replies import TERMINAL, stream_key
from services.gateway.errors import BrokenAnswerError
from services.gateway.events import farewell
from services.gateway.hub import Listener
from services.gateway.lifetime import Lifetime
from services.gateway.replay import SSE, Replay, StreamEntry, Wire
from services.gateway.resources import Resources
from services.gateway.upstream import BODY_IDLE_TIMEOUT_S, UpstreamRequest

log = structlog.stdlib.get_logger()
_OK = 200
_STORED_S = 0.5
"""Seconds between two looks whether chat has stored a reply that is over and cannot be told."""

_SOON_S = 0.02
"""The same where the end was told, and chat is about to store it."""

_RawEntries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class View:
    """Who looks at which reply.

    Attributes:
        authorization: the caller's header, for chat.
        cursor: the last entry that the caller has seen.
        login: the caller's, whose end ends the view; None if somebody else sees to that.
    """

    chatroom_id: UUID
    reply_id: UUID
    user_id: UUID
    authorization: str
    request_id: str
    cursor: str | None
    login: Identity | None = None

    @property
    def key(self) -> str:
        """The stream; it names caller and room, so nobody else's and no other room's is read."""
        return stream_key(
            user_id=self.user_id, chatroom_id=self.chatroom_id, reply_id=self.reply_id
        )


async def look_up(res: Resources, view: View) -> dict[str, Any]:
    """Return chat's copy of the reply.

    Raises:
        NotFoundError: the caller has no such reply.
        ThoughtflowError: chat cannot say now.
    """
    headers = f"authorization: {view.authorization}\r\nx-request-id: {view.request_id}\r\n"
    target = f"/chatroom/{view.chatroom_id}/message/{view.reply_id}"
    request = UpstreamRequest("GET", target.encode(), headers.encode("latin-1"))
    response = await res.upstreams["chat"].send(request)
    body = await response.read_all(BODY_IDLE_TIMEOUT_S)
    if response.status == _OK:
        message: dict[str, Any] = orjson.loads(body)
        if message.get("role") == "assistant":
            return message
    elif response.status >= 500:
        raise BrokenAnswerError("the reply cannot be looked up right now; try again")
    raise NotFoundError("there is no such reply; POST a message to get one")


async def read_entries(res: Resources, key: str, start: str = "-") -> list[StreamEntry]:
    """Return the stream from `start` on (inclusive), empty while Redis is away."""
    try:
        found = cast("_RawEntries", await res.redis.xrange(key, min=start))
    except RedisError as exc:
        log.warning("stream_unreadable", error=type(exc).__name__)
        return []
    return [
        StreamEntry(entry_id.decode(), orjson.loads(fields[b"d"])) for entry_id, fields in found
    ]


async def open_view(res: Resources, view: View, wire: Wire = SSE) -> "LiveReply":
    """Return what a caller is told, written as `wire` says; close it in the end.

    Raises:
        NotFoundError: the caller has no such reply.
        ThoughtflowError: the reply is not live, and chat cannot say how it stands.
    """
    listener = await res.hub.join(view.key)
    try:
        replay = Replay(str(view.reply_id), wire.encode)
        first = await _first_events(res, view, replay)
    except BaseException:
        res.hub.part(view.key, listener)
        raise
    return LiveReply(res, view, listener, replay, first, wire)


async def _first_events(res: Resources, view: View, replay: Replay) -> bytes:
    if view.cursor:
        entries = await read_entries(res, view.key, view.cursor)
        if entries and entries[0].id == view.cursor:
            replay.resume_behind(entries[0])
            return b"".join(replay.tell(entry) for entry in entries[1:])
    entries = await read_entries(res, view.key)
    if entries and view.cursor:
        return replay.start_over(entries)
    if entries:
        return b"".join(replay.tell(entry) for entry in entries)
    return _end_if_over(await look_up(res, view), replay)


def _end_if_over(message: dict[str, Any], replay: Replay) -> bytes:
    return replay.end_as_stored(message) if message["status"] in TERMINAL else b""


class LiveReply:
    """What one listener is told: it ends with the reply, when the client goes, or for a while."""

    def __init__(
        self,
        res: Resources,
        view: View,
        listener: Listener,
        replay: Replay,
        first: bytes,
        wire: Wire,
    ) -> None:
        self._res = res
        self._view = view
        self._listener = listener
        self._replay = replay
        self._first = first
        self._wire = wire

    def leave(self) -> None:
        """The client has gone."""
        self._listener.leave()

    def renew(self, authorization: str) -> None:
        """Ask chat with a fresh token from now on."""
        self._view = replace(self._view, authorization=authorization)

    async def close(self) -> None:
        """Listen no longer."""
        self._res.hub.part(self._view.key, self._listener)

    async def settle(self, within_s: float) -> None:
        """Wait until chat has stored the end, or for so long."""
        with suppress(ThoughtflowError, TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    if (await look_up(self._res, self._view))["status"] in TERMINAL:
                        return
                    await asyncio.sleep(_SOON_S)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what to send next; no Redis command is ever cancelled in the middle."""
        lifetime = Lifetime(
            self._res.draining,
            self._res.sessions,
            born=asyncio.get_running_loop().time(),
            max_age_s=self._res.settings.stream_max_age_s,
            login=self._view.login,
        )
        with lifetime.waking(self._listener.nudge):
            async for events in self._events(lifetime):
                yield events

    async def _events(self, lifetime: Lifetime) -> AsyncIterator[bytes]:
        settings, clock = self._res.settings, asyncio.get_running_loop().time
        sent_at = heard_at = clock()
        yield self._first or self._wire.heartbeat
        self._first = b""
        while not self._replay.ended and not self._listener.gone:
            if (reason := lifetime.ending(clock())) is not None:
                cursor = self._replay.last_id or self._view.cursor
                session_id = self._view.login.session_id if self._view.login else None
                last = farewell(cursor, reason=reason, session_id=session_id)
                yield self._wire.encode(last["type"], last)
                return
            recheck_s = _STORED_S if self._replay.is_over else settings.recheck_s
            due = min(sent_at + settings.heartbeat_s, heard_at + recheck_s, lifetime.ends_at)
            await self._listener.wait(max(0.0, due - clock()))
            events = b""
            if self._listener.catch_up() or self._replay.has_gap:
                events = await self._read_again()
            for entry in self._listener.take():
                heard_at = clock()
                entry_id, _, document = entry.partition(b" ")
                events += self._replay.tell(StreamEntry(entry_id.decode(), orjson.loads(document)))
            if self._replay.has_gap:
                events += await self._read_again()
            if clock() - heard_at >= recheck_s:
                heard_at = clock()
                events += await self._recheck()
            if not events and clock() - sent_at >= settings.heartbeat_s:
                events = self._wire.heartbeat
            if events:
                sent_at = clock()
                yield events

    async def _read_again(self) -> bytes:
        """Return what was missed."""
        after = None if self._replay.has_gap else self._replay.last_id
        entries = await read_entries(self._res, self._view.key, after or "-")
        if not entries:
            return b""
        if after == entries[0].id:
            return b"".join(self._replay.tell(entry) for entry in entries)
        if self._replay.last_id is None and not self._replay.has_gap:
            return b"".join(self._replay.tell(entry) for entry in entries)
        return self._replay.start_over(entries)

    async def _recheck(self) -> bytes:
        """Return what a lost Redis, or a worker that died, kept from us."""
        if not self._replay.is_torn:
            events = await self._read_again()
            if self._replay.ended or events:
                return events
        try:
            return _end_if_over(await look_up(self._res, self._view), self._replay)
        except NotFoundError:
            self._listener.leave()  # deleted meanwhile
        except ThoughtflowError as exc:
            log.warning("reply_not_checked", error=type(exc).__name__)
        return b""

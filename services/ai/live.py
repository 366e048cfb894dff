"""A reply while it is written: the first word goes out at once, the others gathered."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from libs.common.events import MessagePosted, ReplyStopRequested
from libs.common.replies import Entry, ReplyWriter, stream_key

log = structlog.stdlib.get_logger()
GATHER_S = 0.25
"""Seconds between two events at least: one costs the same for any text, and some 50 bytes."""


def stream_key_of(event: MessagePosted | ReplyStopRequested) -> str:
    """Return the key of the stream of the reply that `event` is about."""
    return stream_key(user_id=event.user_id, chatroom_id=event.chatroom_id, reply_id=event.reply_id)


class LiveReply:
    """Sends one attempt's text to whoever watches; watching is a convenience, so never fails."""

    def __init__(self, writer: ReplyWriter, key: str, attempt: int) -> None:
        self._writer = writer
        self._key = key
        self._attempt = attempt
        self._pending = ""
        self._sent = 0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tell that the attempt began, and send what is added from now on."""
        # The sender says it, for a stop must not cancel a command half-way.
        self._sender = asyncio.create_task(self._send_forever())

    async def close(self) -> None:
        """Send what is left; a second time does nothing."""
        # Not cancelled: a command that is cancelled half-way poisons its connection.
        self._closing.set()
        self._wake.set()
        if self._sender is not None:
            await self._sender

    def add(self, text: str) -> None:
        """Take what the model wrote."""
        self._pending += text
        self._wake.set()

    async def end(self, entry: Entry) -> None:
        """Send what is left, then `entry`, which is terminal, with the length of the text."""
        await self.close()
        await self._append(replace(entry, offset=self._sent))

    async def _send_forever(self) -> None:
        await self._append(Entry("started", self._attempt))
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not self._closing.is_set():
            await self._wake.wait()
            self._wake.clear()
            if clock() < next_at:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(next_at):
                        await self._closing.wait()
            await self._flush()
            next_at = clock() + GATHER_S
        await self._flush()

    async def _flush(self) -> None:
        text, self._pending = self._pending, ""
        if text:
            offset, self._sent = self._sent, self._sent + len(text)
            await self._append(Entry("delta", self._attempt, offset, text))

    async def _append(self, entry: Entry) -> None:
        try:
            await self._writer.append(self._key, entry)
        except RedisError as exc:
            log.warning("live_reply_unavailable", error=type(exc).__name__)

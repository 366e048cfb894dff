"""A reply while it is written: the first word goes out at once, the others gathered for 30 ms."""

import asyncio
from contextlib import suppress
from typing import Self

import structlog
from redis.exceptions import RedisError

from libs.common.replies import Entry, ReplyWriter

log = structlog.stdlib.get_logger()
GATHER_S = 0.03
"""Seconds that text is gathered: nobody notices, and an entry costs the same for any text."""


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

    async def __aenter__(self) -> Self:
        await self._append(Entry("started", self._attempt))
        self._sender = asyncio.create_task(self._send_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
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
        """Send what is left, then `entry`, which is terminal."""
        await self.__aexit__()
        await self._append(entry)

    async def _send_forever(self) -> None:
        while not self._closing.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._flush()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._closing.wait()
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

"""Carries codes from the table of deliveries to the providers, outside of any request."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import structlog
from cryptography.exceptions import InvalidTag

from libs.common.background import in_background
from libs.common.clock import utc_now
from libs.common.db import Connection, Pool
from services.auth.metrics import OTP_DELIVERIES
from services.auth.models import Channel, Delivery, OtpMessage
from services.auth.sealing import Seal
from services.auth.senders import SEND_TIMEOUT_S, Sender, SendError
from services.auth.store import deliveries

log = structlog.stdlib.get_logger()
BATCH = 50
"""Messages in the air at a time, per process."""

SAFETY_NET_S = 1.0
"""Seconds between looks at the table when nobody nudged: another process may have died."""

MAX_PAUSE_S = 30
GRACE_S = 2.0
"""Seconds that messages in the air get when the process ends: others would send them once more."""


class Courier:
    """Sends what is queued, at least once, until its code expires.

    `nudge` it after a commit. Safe to run in several processes: what one has claimed is nobody
    else's before it had time to try every sender; what a dead one claimed is, after that.
    """

    def __init__(self, pool: Pool, senders: Sequence[Sender], *, secret: str) -> None:
        """Take `senders` in the order to try."""
        self._pool = pool
        self._senders = senders
        self._seal = Seal(secret)
        self._lease = timedelta(seconds=SEND_TIMEOUT_S * (len(senders) + 1))
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closing = False

    def serves(self, channel: Channel) -> bool:
        """Tell whether any sender does."""
        return any(sender.channel == channel for sender in self._senders)

    async def enqueue(self, conn: Connection, message: OtpMessage, *, now: datetime) -> None:
        """Store `message` for sending, in the caller's transaction."""
        await deliveries.insert_delivery(
            conn,
            message.id,
            channel=message.to.channel,
            sealed=self._seal.close(message),
            due_at=now,
            expires_at=message.expires_at,
        )

    def nudge(self) -> None:
        """Tell the courier that a message was committed."""
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send in the background while the block runs, then let what is in the air land.

        Without a sender there is nothing to do.
        """
        if not self._senders:
            yield
            return
        async with in_background(self._send_forever()):
            try:
                yield
            finally:
                self._is_closing = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE_S):
                        await self._idle.wait()

    async def send_due(self) -> int:
        """Try what is due, give up what came too late, and return how many were tried."""
        now = utc_now()
        async with self._pool.acquire() as conn:
            await deliveries.fail_expired(conn, now)
            due = await deliveries.claim_due(conn, now=now, until=now + self._lease, limit=BATCH)
        # No connection is held while providers are talked to; all are done before one's failure,
        # the database's, is told.
        self._idle.clear()
        try:
            outcomes = await asyncio.gather(
                *(self._deliver(delivery) for delivery in due), return_exceptions=True
            )
        finally:
            self._idle.set()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(due)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            message = self._seal.open(delivery)
        except InvalidTag:  # AUTH_SECRET was changed, and the code died with it
            await self._give_up(delivery, provider=None, error="unreadable")
            return
        failed: list[tuple[str, SendError]] = []
        for sender in self._senders:
            if sender.channel != delivery.channel:
                continue
            try:
                provider_id = await _send(sender, message)
            except SendError as exc:
                log.warning("code_not_sent", provider=sender.name, error=exc.error)
                OTP_DELIVERIES.labels(_provider(sender), "failed").inc()
                failed.append((sender.name, exc))
                continue
            OTP_DELIVERIES.labels(_provider(sender), "sent").inc()
            async with self._pool.acquire() as conn:
                await deliveries.mark_sent(
                    conn, delivery.id, provider=sender.name, provider_id=provider_id
                )
            return
        provider, last = failed[-1] if failed else (None, SendError("no_sender", permanent=True))
        if provider is None or all(error.permanent for _, error in failed):
            await self._give_up(delivery, provider=provider, error=last.error)
            return
        pause = timedelta(seconds=min(2**delivery.attempts, MAX_PAUSE_S))
        async with self._pool.acquire() as conn:
            await deliveries.postpone(
                conn, delivery.id, due_at=utc_now() + pause, provider=provider, error=last.error
            )

    async def _give_up(self, delivery: Delivery, *, provider: str | None, error: str) -> None:
        async with self._pool.acquire() as conn:
            await deliveries.mark_failed(conn, delivery.id, provider=provider, error=error)

    async def _send_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                while not self._is_closing and await self.send_due() == BATCH:
                    pass
            except Exception as exc:  # noqa: BLE001 - it must outlive any outage
                log.warning("courier_failed", error=type(exc).__name__)
                await asyncio.sleep(SAFETY_NET_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_NET_S):
                    await self._wake.wait()


def _provider(sender: Sender) -> str:
    """Return which provider it is, without our account there."""
    return sender.name.partition(":")[0]


async def _send(sender: Sender, message: OtpMessage) -> str:
    """Return the provider's id; whatever goes wrong is a `SendError`, so that the next is tried."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            return await sender.send(message)
    except SendError:
        raise
    except Exception as exc:  # noqa: BLE001 - a provider that breaks its own protocol
        raise SendError(type(exc).__name__) from None

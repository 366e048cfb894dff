"""End a reply because its user wants that, whatever its state."""

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import AIReplyStopped, ReplyStopRequested, Usage
from libs.common.replies import Entry
from services.ai.catalogue import UNPRICED
from services.ai.live import LiveReply, stream_key_of
from services.ai.models import Charge
from services.ai.resources import Resources
from services.ai.store import generations as store
from services.ai.worker import channel_of


async def stop_reply(res: Resources, event: ReplyStopRequested) -> None:
    """Stop a reply that has not begun or whose worker is gone; tell the worker that writes it.

    One that has ended stays as it is.
    """
    async with res.db.acquire() as conn, conn.transaction():
        stopped = await _stop_here(conn, event, counts_days=res.settings.has_budget)
    if stopped is not None:
        res.relay.nudge()
        live = LiveReply(res.replies, stream_key_of(event), stopped.attempt)
        await live.end(Entry("stopped", stopped.attempt))


async def _stop_here(
    conn: Connection, event: ReplyStopRequested, *, counts_days: bool
) -> AIReplyStopped | None:
    now = utc_now()
    if await store.insert_tombstone(
        conn, event.reply_id, user_id=event.user_id, chatroom_id=event.chatroom_id, now=now
    ):
        stopped = _stopped(event, attempt=1, model=None)
        await outbox.add(conn, stopped)
        return stopped
    running = await store.request_stop(conn, event.reply_id, user_id=event.user_id, now=now)
    if running is None:
        return None
    if not running.is_orphan:
        await store.notify_worker(conn, channel_of(running.worker), event.reply_id)
        return None
    stopped = _stopped(event, attempt=running.attempt, model=running.model)
    # What its worker had spent is lost with it.
    charge = Charge(running.model, Usage(), UNPRICED, cost_micros=0, estimated=True)
    await store.end_generation(
        conn, stopped, charge, worker=running.worker, now=now, counts_days=counts_days
    )
    return stopped


def _stopped(event: ReplyStopRequested, *, attempt: int, model: str | None) -> AIReplyStopped:
    return AIReplyStopped(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=attempt,
        model=model,
    )

"""Answer a message, exactly once as seen from outside."""

import asyncio
import random

import structlog

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.db import OUTAGES
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    MessagePosted,
)
from libs.common.replies import Entry
from services.ai import rules
from services.ai.actions import calls, claims, titles
from services.ai.actions.runs import Run
from services.ai.errors import (
    ModelError,
    ModelUnavailableError,
    StopRequestedError,
    TakenOverError,
    TooManyRepliesError,
)
from services.ai.live import LiveReply, stream_key_of
from services.ai.model import TRY_LATER
from services.ai.models import Draft
from services.ai.resources import Resources
from services.ai.store import generations as store
from services.ai.worker import Writing

log = structlog.stdlib.get_logger()
BREAKER_POLL_S = 0.5
END_RETRY_S = 0.5
TELL_START_AFTER_S = 0.5
"""Seconds after which others are told that a reply is being written: of most they learn the end
soon enough, and whoever watches the reply itself sees each step at once."""


async def answer_message(res: Resources, event: MessagePosted) -> None:
    """Write the reply: claim it, stream it, store its end together with the event.

    A redelivery after the end does nothing, and one in the middle waits for the end. One whose
    worker is gone starts over under the next attempt, and whatever the old worker still tries to
    store is refused.

    Raises:
        GenerationBusyError: another worker writes it; the delivery comes again later.
        TooManyRepliesError: so many of the user's replies are written here that others would have
            to wait; the delivery comes again later.
    """
    most = res.settings.concurrent_replies_per_user
    if event.reply_id not in res.worker.writing and res.worker.count_of(event.user_id) >= most:
        raise TooManyRepliesError("one of the user's other replies has to end first")

    async def write(writing: Writing) -> None:
        run = await claims.begin(res, event, writing)
        if run is not None:
            await _write(res, run)

    await res.worker.write(event.reply_id, event.user_id, write)


async def _write(res: Resources, run: Run) -> None:
    run.live.start()
    attempt = run.draft.attempt
    telling = asyncio.get_running_loop().call_later(
        TELL_START_AFTER_S, lambda: res.worker.later(_tell_start(res, run.event, attempt))
    )
    try:
        await _ask_models(res, run)
        await _complete(res, run)
    except StopRequestedError:
        await _stop(res, run)
    except ModelError as error:
        await _fail(res, run, error)
    except TakenOverError:
        log.info("reply_taken_over")
    except OUTAGES:
        raise  # the delivery waits for PostgreSQL, and then all begins anew
    except Exception:
        # Whatever it is, the reply has to end: its reader waits, and so does the room.
        log.exception("reply_crashed")
        await _fail(res, run, ModelError("something went wrong on our side; send it again"))
    finally:
        telling.cancel()
        await run.live.close()


async def _tell_start(res: Resources, event: MessagePosted, attempt: int) -> None:
    started = AIReplyStarted(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=attempt,
        model=event.model or res.settings.gemini_model,
    )
    async with res.db.acquire() as conn, conn.transaction():
        await outbox.add(conn, started)
    res.relay.nudge()


async def _ask_models(res: Resources, run: Run) -> None:
    """Ask the model, then its fallback, until one answers or none is worth asking again.

    Raises:
        ModelError: how the last call failed.
        StopRequestedError, TakenOverError: the reply is no longer wanted, or not from us.
    """
    deadline_s = res.settings.reply_deadline_s
    rules.ensure_wanted(run.event.occurred_at, now=utc_now(), deadline_s=deadline_s)
    rules.ensure_affordable(run.claim.refused, now=utc_now())
    failure: ModelError = ModelUnavailableError(TRY_LATER)
    models = claims.models_for(res, run.event)
    for model, attempts in models:
        for tries in range(1, attempts + 1):
            if not await _is_let_through(res, run, model, patient=model == models[-1][0]):
                break
            try:
                await _call(res, run, model)
            except ModelError as error:
                log.warning("model_failed", code=error.code, model=model, tries=tries)
                if not error.transient:
                    raise
                failure = error
            else:
                return
            if not rules.may_retry(
                failure, tries=tries, attempts=attempts, elapsed_s=_elapsed_s(run)
            ):
                break
            jitter = random.random()  # noqa: S311 - spreads retries
            await _pause(run, rules.pause_before_retry_s(failure, tries=tries, jitter=jitter))
    raise failure


async def _is_let_through(res: Resources, run: Run, model: str, *, patient: bool) -> bool:
    """Tell whether the model's breaker allows a call; a patient caller waits for that."""
    breaker = res.breakers.of(model)
    while breaker.wait_s() > 0:
        if not patient or _elapsed_s(run) > rules.RETRY_WINDOW_S:
            return False
        await _pause(run, BREAKER_POLL_S * (0.5 + random.random()))  # noqa: S311 - spreads calls
    return True


async def _call(res: Resources, run: Run, model: str) -> None:
    if run.draft.model:  # was used for a call that failed
        await _begin_next_attempt(res, run)
    async with run.writing.stoppable():
        run.draft.model = model
        await calls.stream(res, run.prompt, run.draft, run.bill, run.live.add)


async def _begin_next_attempt(res: Resources, run: Run) -> None:
    await run.live.close()
    async with res.db.acquire() as conn:
        attempt = await store.raise_attempt(
            conn, run.event.reply_id, attempt=run.draft.attempt, worker=res.worker.id
        )
    if attempt is None:
        raise TakenOverError
    run.draft = Draft(attempt)
    key = stream_key_of(run.event)
    run.live = LiveReply(res.replies, key, attempt)
    run.live.start()


async def _pause(run: Run, seconds: float) -> None:
    async with run.writing.stoppable():
        await asyncio.sleep(seconds)


def _elapsed_s(run: Run) -> float:
    return asyncio.get_running_loop().time() - run.began


async def _complete(res: Resources, run: Run) -> None:
    draft = run.draft
    ready = AIReplyReady(
        user_id=run.event.user_id,
        chatroom_id=run.event.chatroom_id,
        reply_id=run.event.reply_id,
        attempt=draft.attempt,
        content=draft.text,
        finish_reason=draft.finish_reason,
        model=draft.model,
        usage=draft.usage,
    )
    if not await _end(res, run, ready):
        return
    await run.live.end(Entry("completed", draft.attempt, finish_reason=draft.finish_reason))
    if run.event.wants_title:
        res.worker.later(titles.give_title(res, run.event, reply=draft.text, model=draft.model))


async def _fail(res: Resources, run: Run, error: ModelError) -> None:
    failed = AIReplyFailed(
        user_id=run.event.user_id,
        chatroom_id=run.event.chatroom_id,
        reply_id=run.event.reply_id,
        attempt=run.draft.attempt,
        content=run.draft.text,
        code=error.code,
        detail=str(error),
        retryable=error.transient,
        model=run.draft.model or None,
        usage=run.bill.charge().usage,
    )
    if await _end(res, run, failed):
        problem = {"code": error.code, "detail": str(error), "retryable": error.transient}
        await run.live.end(Entry("failed", run.draft.attempt, problem=problem))


async def _stop(res: Resources, run: Run) -> None:
    stopped = AIReplyStopped(
        user_id=run.event.user_id,
        chatroom_id=run.event.chatroom_id,
        reply_id=run.event.reply_id,
        attempt=run.draft.attempt,
        content=run.draft.text,
        model=run.draft.model or None,
        usage=run.bill.charge().usage,
    )
    if await _end(res, run, stopped):
        await run.live.end(Entry("stopped", run.draft.attempt))


async def _end(res: Resources, run: Run, event: store.End) -> bool:
    """Store end, ledger row and event, all or none; false if the reply is no longer ours.

    Waits for PostgreSQL: what has been written is paid for, and need not be written again.
    """
    charge, now = run.bill.charge(), utc_now()
    while True:
        try:
            async with res.db.acquire() as conn:
                ended = await store.end_generation(
                    conn,
                    event,
                    charge,
                    worker=res.worker.id,
                    now=now,
                    counts_days=res.settings.has_budget,
                )
        except OUTAGES as exc:
            log.warning("dependency_away", error=type(exc).__name__, retry_in_s=END_RETRY_S)
            await asyncio.sleep(END_RETRY_S)
            continue
        if ended:
            res.relay.nudge()
        return ended

"""What ai can do: answer a message, exactly once as seen from outside."""

import asyncio
import random

import structlog

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.events import AIReplyFailed, AIReplyReady, AIReplyStarted, MessagePosted
from libs.common.replies import Entry, stream_key
from services.ai import rules, store
from services.ai.errors import GenerationBusyError, ModelError
from services.ai.live import LiveReply
from services.ai.models import Draft, Prompt
from services.ai.resources import Resources

log = structlog.stdlib.get_logger()


async def answer_message(res: Resources, event: MessagePosted) -> None:
    """Write the reply: claim it, stream it, store its end together with the event.

    A redelivery after the end does nothing, and one in the middle waits for the end. One whose
    worker is gone starts over under the next attempt, and whatever the old worker still tries to
    store is refused.

    Raises:
        GenerationBusyError: another worker writes it; the delivery comes again later.
    """

    async def write() -> None:
        attempt = await _claim(res, event)
        if attempt is not None:
            await _write(res, event, Draft(attempt))

    await res.worker.write(event.reply_id, write)


async def _claim(res: Resources, event: MessagePosted) -> int | None:
    async with res.db.acquire() as conn, conn.transaction():
        attempt = await store.claim_generation(
            conn,
            generation_id=event.reply_id,
            user_id=event.user_id,
            chatroom_id=event.chatroom_id,
            worker=res.worker.id,
            model=res.model.name,
            now=utc_now(),
        )
        if attempt is None:
            if await store.has_ended(conn, event.reply_id):
                return None
            raise GenerationBusyError("another worker is writing the reply")
        await outbox.add(
            conn,
            AIReplyStarted(
                user_id=event.user_id,
                chatroom_id=event.chatroom_id,
                reply_id=event.reply_id,
                attempt=attempt,
                model=res.model.name,
            ),
        )
    res.relay.nudge()
    return attempt


async def _write(res: Resources, event: MessagePosted, draft: Draft) -> None:
    """Ask the model until it answers or is not worth asking again."""
    prompt = Prompt(history=event.history, content=event.content)
    key = stream_key(user_id=event.user_id, chatroom_id=event.chatroom_id, reply_id=event.reply_id)
    for tries in range(1, res.settings.model_attempts + 1):
        async with LiveReply(res.replies, key, draft.attempt) as live:
            try:
                await _stream(res, prompt, draft, live)
            except ModelError as error:
                log.warning("model_failed", code=error.code, tries=tries)
                if not rules.may_retry(error, tries=tries, attempts=res.settings.model_attempts):
                    await _fail(res, event, draft, live, error)
                    return
                pause_s = rules.pause_before_retry_s(
                    error,
                    tries=tries,
                    jitter=random.random(),  # noqa: S311 - spreads retries
                )
            else:
                await _complete(res, event, draft, live)
                return
        await asyncio.sleep(pause_s)
        async with res.db.acquire() as conn:
            attempt = await store.raise_attempt(
                conn, event.reply_id, attempt=draft.attempt, worker=res.worker.id
            )
        if attempt is None:
            return  # another worker took over while we were away
        draft = Draft(attempt)


async def _stream(res: Resources, prompt: Prompt, draft: Draft, live: LiveReply) -> None:
    async for piece in res.model.answer(prompt):
        draft.text += piece.text
        draft.usage = piece.usage or draft.usage
        draft.finish_reason = piece.finish_reason or draft.finish_reason
        live.add(piece.text)


async def _complete(res: Resources, event: MessagePosted, draft: Draft, live: LiveReply) -> None:
    ready = AIReplyReady(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=draft.attempt,
        content=draft.text.replace("\x00", ""),  # PostgreSQL cannot hold NUL
        finish_reason=draft.finish_reason,
        model=res.model.name,
        usage=draft.usage,
    )
    if await _end(res, ready, draft, status="completed", problem_code=None):
        await live.end(Entry("completed", draft.attempt, finish_reason=draft.finish_reason))


async def _fail(
    res: Resources, event: MessagePosted, draft: Draft, live: LiveReply, error: ModelError
) -> None:
    failed = AIReplyFailed(
        user_id=event.user_id,
        chatroom_id=event.chatroom_id,
        reply_id=event.reply_id,
        attempt=draft.attempt,
        content=draft.text.replace("\x00", ""),
        code=error.code,
        detail=str(error),
        retryable=error.transient,
    )
    if await _end(res, failed, draft, status="failed", problem_code=error.code):
        problem = {"code": error.code, "detail": str(error), "retryable": error.transient}
        await live.end(Entry("failed", draft.attempt, problem=problem))


async def _end(
    res: Resources,
    event: AIReplyReady | AIReplyFailed,
    draft: Draft,
    *,
    status: str,
    problem_code: str | None,
) -> bool:
    """Store the end and its event, both or neither; false if the reply is no longer ours."""
    async with res.db.acquire() as conn, conn.transaction():
        if not await store.end_generation(
            conn,
            event.reply_id,
            draft,
            status=status,
            worker=res.worker.id,
            problem_code=problem_code,
            now=utc_now(),
        ):
            return False
        await outbox.add(conn, event)
    res.relay.nudge()
    return True

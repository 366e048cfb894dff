"""The right to write a reply, and what it may cost."""

import asyncio

from libs.common import deleted_users
from libs.common.clock import utc_now
from libs.common.events import MessagePosted
from services.ai import metrics, rules
from services.ai.actions import budgets, calls
from services.ai.actions.runs import Run
from services.ai.errors import GenerationBusyError
from services.ai.live import LiveReply, stream_key_of
from services.ai.models import Claim, Draft, Prompt
from services.ai.resources import Resources
from services.ai.store import generations as store
from services.ai.worker import Writing


async def begin(res: Resources, event: MessagePosted, writing: Writing) -> Run | None:
    """Claim the reply, and hold what it may cost; None if there is nothing left to write.

    Raises:
        GenerationBusyError: another worker writes it.
    """
    prompt = Prompt(
        rules.conversation(
            summary=event.summary,
            history=event.history,
            content=event.content,
            budget_tokens=res.settings.prompt_tokens,
        ),
        res.settings.system_instruction,
        res.settings.max_output_tokens,
    )
    claim = await _claim(res, event, prompt)
    if claim is None:
        return None
    waited_s = (utc_now() - event.occurred_at).total_seconds()
    metrics.PROMPT_AGE_S.labels(event.TYPE).observe(max(0.0, waited_s))
    if claim.stop_requested:
        writing.stop()
    live = LiveReply(res.replies, stream_key_of(event), claim.attempt)
    began = asyncio.get_running_loop().time()
    return Run(event, writing, prompt, Draft(claim.attempt), live, calls.Bill(), began, claim)


def models_for(res: Resources, event: MessagePosted) -> list[tuple[str, int]]:
    """Return which models may be asked for the reply, in their order, each with how often."""
    return rules.models_to_try(
        event.model or res.settings.gemini_model,
        res.settings.gemini_fallback_model,
        attempts=res.settings.model_attempts,
    )


async def _claim(res: Resources, event: MessagePosted, prompt: Prompt) -> Claim | None:
    models = [model for model, _ in models_for(res, event)]
    async with res.db.acquire() as conn:
        claim = await store.claim_generation(
            conn,
            event,
            model=models[0],
            worker=res.worker.id,
            now=utc_now(),
            cost_micros=budgets.highest_cost(prompt, models),
            day_limit=res.settings.budget_micros_per_day,
        )
        if claim is None:
            if await store.has_ended(conn, event.reply_id):
                return None
            if await deleted_users.is_deleted(conn, event.user_id):
                return None
            raise GenerationBusyError("another worker is writing the reply")
    return claim

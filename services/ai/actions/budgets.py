"""What may be spent: on a reply, a title or a summary."""

from collections.abc import Iterable
from uuid import UUID

from libs.common.clock import utc_now
from services.ai import rules
from services.ai.catalogue import highest_cost_of
from services.ai.models import Prompt
from services.ai.resources import Resources
from services.ai.store import budgets as store


def highest_cost(prompt: Prompt, models: Iterable[str]) -> int:
    """Return what one call with the prompt may cost, whichever of the models takes it."""
    return highest_cost_of(
        models,
        prompt_tokens=rules.most_tokens_in(prompt.texts()),
        output_tokens=prompt.max_output_tokens,
    )


async def ensure_affordable(res: Resources, user_id: UUID, prompt: Prompt, model: str) -> None:
    """Refuse a call that is nobody's reply where a budget lacks what it may cost.

    Nothing is held for it: such a call is short, and there is one at a time in a room.

    Raises:
        BudgetExceededError: a budget does.
    """
    now = utc_now()
    async with res.db.acquire() as conn:
        refused = await store.lacking(
            conn,
            user_id,
            cost_micros=highest_cost(prompt, [model]),
            day_limit=res.settings.budget_micros_per_day,
            now=now,
        )
    rules.ensure_affordable(refused, now=now)

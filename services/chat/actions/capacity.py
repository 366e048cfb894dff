"""Who may post while too many prompts wait."""

from uuid import UUID

from services.chat.errors import ReducedCapacityError
from services.chat.resources import Resources
from services.chat.store import capacity as store

RETRY_AFTER_S = 10


async def ensure_capacity(res: Resources, user_id: UUID) -> None:
    """Refuse a post that would wait too long, before anything is stored; Basic goes first.

    Costs nothing while there is no backlog.

    Raises:
        ReducedCapacityError: the user's plan has to wait.
    """
    if not res.backlog.is_long:
        return
    async with res.db.acquire() as conn:
        plan = await store.plan_of(conn, user_id)
    if res.backlog.is_long_for(plan):
        raise ReducedCapacityError(RETRY_AFTER_S)

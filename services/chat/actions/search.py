"""Search over what a user wrote and read."""

from uuid import UUID

from services.chat import rules
from services.chat.models import HIT_END, HIT_START, Hit
from services.chat.resources import Resources
from services.chat.store import search as store

SNIPPET = 400
BEFORE_HIT = 80
Found = tuple[Hit, str, list[tuple[int, int]]]


async def search(
    res: Resources, *, user_id: UUID, words: str, before: UUID | None, limit: int
) -> tuple[list[Found], bool]:
    """Return the user's titles and messages that match, newest first, and whether there are more.

    Args:
        res: what chat holds open.
        user_id: whose they are.
        words: in the syntax of search engines: `a b`, `"a b"`, `a or b`, `-a`.
        before: the last hit of the page before.
        limit: hits at most.

    Returns:
        Each hit with an extract and the ranges of it, in code points, that made it a hit.
    """
    async with res.db.acquire() as conn:
        hits = await store.list_hits(
            conn, user_id=user_id, words=words, before=before, limit=limit + 1
        )
    found = [
        (
            hit,
            *rules.split_marks(
                hit.headline, start=HIT_START, end=HIT_END, before=BEFORE_HIT, length=SNIPPET
            ),
        )
        for hit in hits[:limit]
    ]
    return found, len(hits) > limit

"""What ai knows of a user, for the user."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from libs.common.exports import array, document
from services.ai.resources import Resources
from services.ai.store import entitlements, exports

BATCH = 500


async def export_usage(res: Resources, user_id: UUID) -> AsyncIterator[bytes]:
    """Yield what the user may choose and what was spent for them, piece by piece."""
    async with res.db.acquire() as conn:
        models = await entitlements.models_of(conn, user_id)
    yield b'{"models":' + document(models) + b',"charges":'
    async for piece in array(_charges(res, user_id)):
        yield piece
    yield b"}"


async def _charges(res: Resources, user_id: UUID) -> AsyncIterator[bytes]:
    last: dict[str, Any] | None = None
    while True:
        async with res.db.acquire() as conn:
            batch = await exports.list_charges(conn, user_id, after=last, limit=BATCH)
        for charge in batch:
            yield document(charge)
        if len(batch) < BATCH:
            return
        last = batch[-1]

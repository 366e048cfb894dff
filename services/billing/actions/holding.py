"""The user's lock for those who wait for an answer: within a time, or a typed refusal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from libs.common.db import Connection
from services.billing.errors import BillingUnavailableError
from services.billing.resources import Resources


@asynccontextmanager
async def user_held(res: Resources, user_id: UUID, *, within_s: float) -> AsyncIterator[Connection]:
    """Hold the user's lock while the block runs, for `within_s` seconds with the waiting.

    Raises:
        BillingUnavailableError: it took longer.
    """
    try:
        async with (
            asyncio.timeout(within_s),
            res.locks.held(user_id, within_s=within_s) as conn,
        ):
            yield conn
    except TimeoutError as exc:
        # Whose fault it is, Stripe's or our database's, cannot be told here.
        raise BillingUnavailableError(
            "Stripe did not answer in time; try again in a few seconds"
        ) from exc

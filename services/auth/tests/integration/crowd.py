"""Many tries at once, and what became of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any

from libs.common.errors import ThoughtflowError

BATCH = 100
"""Tries in parallel."""


async def outcomes(tries: Iterable[Awaitable[Any]]) -> Counter[str]:
    """Run them and count the answers by code; what is no refusal counts as `accepted`."""
    found = await asyncio.gather(*tries, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, ThoughtflowError):
            raise each
    return Counter(
        each.code if isinstance(each, ThoughtflowError) else "accepted" for each in found
    )

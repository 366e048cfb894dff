"""The parts of a user's archive: each service tells its own, the gateway puts them together."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

PATH = "/export"
"""Where a service tells its part; no public path leads there."""

PART_KEYS = {"auth": "account", "billing": "billing", "ai": "usage", "chat": "chat"}
"""Under which name each service's part stands in the archive, in this order."""


def document(value: Any) -> bytes:
    """Return `value` as JSON."""
    # asyncpg's UUIDs are a class of their own
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)


async def array(items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a JSON array of documents, piece by piece."""
    separator = b"["
    async for item in items:
        yield separator + item
        separator = b",\n"
    yield b"]" if separator != b"[" else b"[]"

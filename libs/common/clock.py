"""Time and identifiers; the only module that reads the wall clock and makes ids."""

from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

_RANDOM_BITS = 80  # below the 48 bits of milliseconds: version, variant and randomness
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1


def utc_now() -> datetime:
    """Return the current instant, timezone-aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251


def new_id(*, after: UUID | None = None) -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): ids sort by the time they were made.

    Args:
        after: an id that the new one must sort behind, even if it was made by a process whose
            clock is ahead of ours.
    """
    fresh = uuid7()
    if after is None or fresh > after:
        return fresh
    return UUID(int=((after.int >> _RANDOM_BITS) + 1 << _RANDOM_BITS) | (fresh.int & _RANDOM_MASK))

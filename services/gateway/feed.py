"""A user's feed in Redis: what happened lately to what is theirs, for all of their devices.

The key names the owner, so that a reader who may only build keys with its own user id can read
nothing else. Everything in it can be read again from the services.
"""

from typing import Any, cast
from uuid import UUID

import orjson
from redis.asyncio import Redis

from libs.common import deleted_users
from libs.common.multiplexed import Commands
from services.gateway.replay import StreamEntry

MAX_ENTRIES = 1000
EXPIRY_S = 7 * 24 * 3600
"""Seconds that a feed outlives its last entry."""

# KEYS: the feed, the ids of the events in it, the mark of a deleted user. ARGV: event id, entry,
# entries at most, seconds.
# The ids are a sorted set of equal scores, which sorts them by themselves: UUIDv7 grow with time.
_APPEND = """
if redis.call('EXISTS', KEYS[3]) == 1 then return false end
if redis.call('ZADD', KEYS[2], 'NX', 0, ARGV[1]) == 0 then return false end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -2 * ARGV[3] - 1)
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'd', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[2])
return id
"""

# An empty feed gets an entry that nobody is shown: so every cursor is the id of an entry, and one
# whose entry is gone is known to be too old.
_LAST = """
if redis.call('EXISTS', KEYS[2]) == 1 then return '0-0' end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last > 0 then return last[1][1] end
local id = redis.call('XADD', KEYS[1], '*', 'd', '')
redis.call('EXPIRE', KEYS[1], ARGV[1])
return id
"""

_RawEntries = list[tuple[bytes, dict[bytes, bytes]]]


def feed_key(user_id: UUID) -> str:
    """Return the key of a user's feed; its pub/sub channel has the same name."""
    return f"feed:{user_id}"


def _keys(user_id: UUID) -> list[str]:
    return [feed_key(user_id), f"feed-ids:{user_id}"]


class FeedStore:
    """Appends to feeds and reads them.

    Every method raises `redis.exceptions.RedisError` while Redis is away.

    Args:
        redis: for reading, which may take long.
        shared: for all that is short.
    """

    def __init__(self, redis: Redis, shared: Commands) -> None:
        self._redis = redis
        self._shared = shared
        self._append = shared.register_script(_APPEND)
        self._last = shared.register_script(_LAST)

    async def append(self, user_id: UUID, event_id: UUID, document: dict[str, Any]) -> bool:
        """Store and publish an entry, unless that event has one; return whether it was new."""
        entry_id = await self._append(
            keys=[*_keys(user_id), deleted_users.redis_key(user_id)],
            args=[str(event_id), orjson.dumps(document), MAX_ENTRIES, EXPIRY_S],
        )
        return entry_id is not None

    async def last_id(self, user_id: UUID) -> str:
        """Return the cursor of now."""
        keys = [feed_key(user_id), deleted_users.redis_key(user_id)]
        return cast("bytes", await self._last(keys=keys, args=[EXPIRY_S])).decode()

    async def forget(self, user_id: UUID) -> None:
        """Delete what the gateway keeps of a deleted user, and let nothing new begin."""
        keys = [*_keys(user_id), f"rate:{user_id}", f"granted:{user_id}"]
        await deleted_users.delete_keys(self._shared, user_id, keys)

    async def read_after(
        self, user_id: UUID, cursor: str, *, limit: int | None = None
    ) -> list[StreamEntry] | None:
        """Return the entries behind `cursor`, oldest first; None if its entry is gone."""
        count = None if limit is None else limit + 1
        found = cast(
            "_RawEntries", await self._redis.xrange(feed_key(user_id), min=cursor, count=count)
        )
        if not found or found[0][0].decode() != cursor:
            return None
        return [
            StreamEntry(entry_id.decode(), orjson.loads(fields[b"d"]))
            for entry_id, fields in found[1:]
        ]

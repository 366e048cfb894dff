"""The live part of a reply: deltas in a Redis stream, from ai to the gateway, gone soon after.

The stored reply in PostgreSQL is the truth, this is its preview. The key names owner and room,
so that a reader who may only build keys with its own user id can read nothing else.
"""

from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import orjson

from libs.common import deleted_users
from libs.common.multiplexed import Commands

Kind = Literal["started", "delta", "completed", "failed", "stopped"]
TERMINAL: frozenset[Kind] = frozenset({"completed", "failed", "stopped"})
OPEN_EXPIRY_S = 3600
"""Seconds that a stream outlives its last delta; no reply takes that long."""

TERMINAL_EXPIRY_S = 900
MAX_ENTRIES = 10_000

# KEYS: the stream, the mark of a deleted owner.
_APPEND = """
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'd', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[2])
return id
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of a reply.

    Attributes:
        kind: what happened.
        attempt: which try it belongs to; entries of an older attempt are void.
        offset: code points of this attempt's text before this entry; who has fewer missed some.
        text: what is new, empty unless `kind` is `delta`.
        finish_reason: how a completed reply ended.
        problem: why a failed one failed: `code` and `detail`.
    """

    kind: Kind
    attempt: int
    offset: int = 0
    text: str = ""
    finish_reason: str | None = None
    problem: dict[str, Any] | None = field(default=None)

    def dump(self) -> bytes:
        """Return the entry as it is stored: one JSON object."""
        document: dict[str, Any] = {
            "type": self.kind,
            "attempt": self.attempt,
            "offset": self.offset,
            "text": self.text,
        }
        if self.kind in TERMINAL:
            document |= {"finish_reason": self.finish_reason, "problem": self.problem}
        return orjson.dumps(document)


def stream_key(*, user_id: UUID, chatroom_id: UUID, reply_id: UUID) -> str:
    """Return the key of a reply's stream; its pub/sub channel has the same name."""
    return f"reply:{user_id}:{chatroom_id}:{reply_id}"


class ReplyWriter:
    """Appends to the streams of replies, one round trip each."""

    def __init__(self, redis: Commands) -> None:
        self._redis = redis
        self._append = redis.register_script(_APPEND)

    async def append(self, key: str, entry: Entry) -> None:
        """Store `entry` at the end of the stream and tell whoever listens; not of who was deleted.

        Raises:
            redis.exceptions.RedisError: the live view is lost; the reply itself is not.
        """
        expiry = TERMINAL_EXPIRY_S if entry.kind in TERMINAL else OPEN_EXPIRY_S
        owner = key.split(":")[1]
        await self._append(
            keys=[key, deleted_users.redis_key(owner)], args=[MAX_ENTRIES, entry.dump(), expiry]
        )

    async def forget(self, user_id: UUID, keys: list[str]) -> None:
        """Delete the streams of a deleted user, and let no new one begin.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        await deleted_users.delete_keys(self._redis, user_id, keys)

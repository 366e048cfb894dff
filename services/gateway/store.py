"""What the gateway asks Redis before it forwards, in one round trip, and what ended logins are."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.common import deleted_users
from libs.common.multiplexed import Commands

# The generic cell rate algorithm: a subject has one number, the time at which its allowance will be
# full again (`tat`, microseconds). KEYS: rate, and for a login revoked and deleted. ARGV:
# microseconds between two requests at the lasting rate, burst. Returns {allowed, remaining,
# microseconds to wait}.
_ADMIT = """
if KEYS[3] and redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {-1, 0, 0} end
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
if interval == 0 then return {1, 0, 0} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local wait = tat + interval - interval * burst - now
if wait > 0 then return {0, 0, wait} end
tat = tat + interval
local full_ms = math.ceil((tat - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', full_ms)
return {1, math.floor((interval * burst - (tat - now)) / interval), tat - now}
"""

REVOCATIONS = "revocations"
"""The channel that every gateway process listens to: `<session id> <until>`."""

# KEYS: revoked, the channel. ARGV: seconds to keep it, until, session id.
_REVOKE = """
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[1])
redis.call('PUBLISH', KEYS[2], ARGV[3] .. ' ' .. ARGV[2])
"""


def revoked_key(session_id: UUID) -> str:
    """Return the key that is there while tokens of an ended session have to be refused."""
    return f"revoked:{session_id}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the script found.

    Attributes:
        revoked: the session has ended, or its user was deleted; nothing was counted.
        allowed: the request is within the limit, and counted.
        remaining: requests that may follow at once.
        wait_us: microseconds until the next request is allowed, or if this one is, until the whole
            burst is there again.
    """

    revoked: bool
    allowed: bool
    remaining: int
    wait_us: int


class AdmissionStore:
    """Counts requests and knows ended sessions."""

    def __init__(self, redis: Commands) -> None:
        self._admit = redis.register_script(_ADMIT)

    async def admit(
        self, subject: str, *, session_id: UUID | None, interval_us: int, burst: int
    ) -> Verdict:
        """Count a request of `subject`, unless its session has ended or it is one too many.

        Args:
            subject: whom to count for.
            session_id: the login to look up; None for callers without.
            interval_us: microseconds between two requests at the lasting rate; 0 counts nothing.
            burst: requests at once of who was idle.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        rate = f"rate:{subject}"
        keys = [rate]
        if session_id is not None:
            keys += [revoked_key(session_id), deleted_users.redis_key(subject)]
        result = await self._admit(keys=keys, args=[interval_us, burst])
        allowed, remaining, wait_us = result
        return Verdict(allowed == -1, allowed == 1, remaining, wait_us)


class RevocationStore:
    """Ended sessions; every method raises `redis.exceptions.RedisError` while Redis is away."""

    def __init__(self, redis: Commands) -> None:
        self._redis = redis
        self._revoke = redis.register_script(_REVOKE)

    async def revoke(self, session_id: UUID, *, until: float) -> None:
        """Have the session's tokens refused until then (Unix time), and tell every process."""
        left_s = math.ceil(until - time.time())
        if left_s > 0:
            await self._revoke(
                keys=[revoked_key(session_id), REVOCATIONS],
                args=[left_s, str(until), str(session_id)],
            )

    async def find_revoked(self, session_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Return those of the sessions that have ended, and until when that is kept."""
        if not session_ids:
            return {}
        keys = [revoked_key(session_id) for session_id in session_ids]
        values = await self._redis.execute_command("MGET", *keys)
        return {
            session_id: float(value)
            for session_id, value in zip(session_ids, values, strict=True)
            if value is not None
        }

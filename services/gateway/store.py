"""What the gateway asks Redis before it forwards: one script, one round trip."""

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
            keys += [f"revoked:{session_id}", deleted_users.redis_key(subject)]
        result = await self._admit(keys=keys, args=[interval_us, burst])
        allowed, remaining, wait_us = result
        return Verdict(allowed == -1, allowed == 1, remaining, wait_us)

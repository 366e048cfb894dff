"""What the gateway asks Redis before it forwards, in one round trip, and what ended logins are."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.common import deleted_users
from libs.common.multiplexed import Commands

# The generic cell rate algorithm: a subject has one number, the time at which its allowance will be
# full again (`tat`, microseconds); who owes more than a whole burst owed it under another plan.
# KEYS: rate, and for a login revoked, deleted and granted. ARGV: the defaults: requests a minute,
# burst. Returns {allowed, remaining, microseconds to wait, requests a minute, burst, granted}.
_ADMIT = """
if KEYS[3] and redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {-1, 0, 0, 0, 0, ''} end
local per_minute, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
if per_minute == 0 then return {1, 0, 0, 0, 0, ''} end
local granted = KEYS[4] and redis.call('GET', KEYS[4]) or ''
local own_rate, own_burst = string.match(granted, '^%d+ (%S+) (%S+)')
per_minute, burst = tonumber(own_rate) or per_minute, tonumber(own_burst) or burst
local interval = math.floor(60000000 / per_minute)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if tat > now + interval * burst then tat = now end
local wait = tat + interval - interval * burst - now
if wait > 0 then return {0, 0, wait, per_minute, burst, granted} end
tat = tat + interval
local full_ms = math.ceil((tat - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', full_ms)
local remaining = math.floor((interval * burst - (tat - now)) / interval)
return {1, remaining, tat - now, per_minute, burst, granted}
"""

# KEYS: granted, deleted. ARGV: version, what is granted, seconds to keep it.
_GRANT = """
if redis.call('EXISTS', KEYS[2]) == 1 then return end
local known = redis.call('GET', KEYS[1])
if known and tonumber(string.match(known, '^%d+')) >= tonumber(ARGV[1]) then return end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
"""

GRANTED_EXPIRY_S = 24 * 3600
"""Seconds that Redis keeps what a plan grants; after that billing is asked again."""

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


def granted_key(user_id: UUID | str) -> str:
    """Return the key of what the user's plan grants at the edge."""
    return f"granted:{user_id}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the script found.

    Attributes:
        revoked: the session has ended, or its user was deleted; nothing was counted.
        allowed: the request is within the limit, and counted.
        remaining: requests that may follow at once.
        wait_us: microseconds until the next request is allowed, or if this one is, until the whole
            burst is there again.
        per_minute: the rate that counted.
        burst: what came with it.
        plan: the caller's, None if Redis does not know what it grants.
    """

    revoked: bool
    allowed: bool
    remaining: int
    wait_us: int
    per_minute: int
    burst: int
    plan: str | None


class AdmissionStore:
    """Counts requests, and knows ended sessions and what plans grant."""

    def __init__(self, redis: Commands) -> None:
        self._admit = redis.register_script(_ADMIT)
        self._grant = redis.register_script(_GRANT)

    async def admit(
        self, subject: str, *, session_id: UUID | None, per_minute: int, burst: int
    ) -> Verdict:
        """Count a request of `subject`, unless its session has ended or it is one too many.

        Args:
            subject: whom to count for.
            session_id: the login to look up; None for callers without.
            per_minute: lasting rate of whom nothing else is granted; 0 counts nothing, of nobody.
            burst: requests at once of who was idle, likewise.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        keys = [f"rate:{subject}"]
        if session_id is not None:
            keys += [
                revoked_key(session_id),
                deleted_users.redis_key(subject),
                granted_key(subject),
            ]
        result = await self._admit(keys=keys, args=[per_minute, burst])
        allowed, remaining, wait_us, own_per_minute, own_burst, granted = result
        return Verdict(
            revoked=allowed == -1,
            allowed=allowed == 1,
            remaining=remaining,
            wait_us=wait_us,
            per_minute=own_per_minute,
            burst=own_burst,
            plan=granted.decode().rpartition(" ")[2] if granted else None,
        )

    async def grant(
        self, user_id: UUID, *, version: int, plan: str, per_minute: int | None, burst: int | None
    ) -> None:
        """Keep what the plan grants, unless as new a version is kept or the user was deleted.

        `per_minute` and `burst` are None where the defaults count.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        granted = f"{per_minute or '-'} {burst or '-'} {plan}"
        await self._grant(
            keys=[granted_key(user_id), deleted_users.redis_key(user_id)],
            args=[version, granted, GRANTED_EXPIRY_S],
        )


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

"""What the gateway asks Redis before it forwards: one script, one round trip."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from typing_extensions import override

WAIT_S = 2.0
"""Seconds to wait for a connection while all are in use."""

# The generic cell rate algorithm: a subject has one number, the time at which its allowance will be
# full again (`tat`, microseconds). KEYS: rate, revoked (or rate again). ARGV: microseconds between
# two requests at the lasting rate, burst. Returns {allowed, remaining, microseconds to wait}.
_ADMIT = """
if KEYS[2] ~= KEYS[1] and redis.call('EXISTS', KEYS[2]) == 1 then return {-1, 0, 0} end
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
        revoked: the session has ended; nothing was counted.
        allowed: the request is within the limit, and counted.
        remaining: requests that may follow at once.
        wait_us: microseconds until the next request is allowed, or if this one is, until the whole
            burst is there again.
    """

    revoked: bool
    allowed: bool
    remaining: int
    wait_us: int


class PatientPool(ConnectionPool):
    """redis-py's pool, but whoever finds all connections in use waits for one.

    Refused at once, as redis-py does, a crowd of requests would pass every limit. Its
    `BlockingConnectionPool` waits too, and costs 10 us more of CPU for each command.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiters: deque[asyncio.Future[None]] = deque()

    @override
    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        if not self.can_get_connection():
            await self._wait_for_one()
        connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
        return connection

    @override
    async def release(self, connection: AbstractConnection) -> None:
        await super().release(connection)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # else its owner has given up
                waiter.set_result(None)
                return

    async def _wait_for_one(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not self.can_get_connection():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError as exc:
            raise RedisConnectionError(f"no connection came free in {WAIT_S} s") from exc


class AdmissionStore:
    """Counts requests and knows ended sessions."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(_ADMIT)

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
        revoked = f"revoked:{session_id}" if session_id else rate
        try:
            # Not the script object's call: it costs twice as much for what is the same command.
            result = await self._redis.evalsha(
                self._script.sha, 2, rate, revoked, str(interval_us), str(burst)
            )
        except NoScriptError:
            result = await self._script(keys=[rate, revoked], args=[interval_us, burst])
        allowed, remaining, wait_us = result
        return Verdict(allowed == -1, allowed == 1, remaining, wait_us)

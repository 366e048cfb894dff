"""Rate limits: per user, or per address where nobody is logged in."""

import math
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from libs.common.errors import SessionRevokedError
from libs.common.identity import Identity
from services.gateway.errors import RateLimitedError
from services.gateway.lifetime import Sessions
from services.gateway.rules import anonymous_subject
from services.gateway.store import AdmissionStore, Verdict

log = structlog.stdlib.get_logger()
WARN_INTERVAL_S = 10.0
_MINUTE_US = 60_000_000

ResponseHeaders = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute for ever, and `burst` at once after a pause; 0 a minute: no limit.

    Attributes:
        name: what the `RateLimit` headers call it.
    """

    name: str
    per_minute: int
    burst: int

    @property
    def interval_us(self) -> int:
        """Microseconds between two requests at the lasting rate; 0 without a limit."""
        return _MINUTE_US // self.per_minute if self.per_minute else 0

    @property
    def policy(self) -> str:
        """The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11)."""
        return f'"{self.name}";q={self.per_minute};w=60'

    def headers(self, verdict: Verdict) -> ResponseHeaders:
        """Return the answer's headers; `t` is seconds until the whole burst is there again."""
        state = f'"{self.name}";r={verdict.remaining};t={_seconds(verdict.wait_us)}'
        return (b"ratelimit-policy", self.policy.encode()), (b"ratelimit", state.encode())

    def error(self, verdict: Verdict) -> RateLimitedError:
        """Return the refusal."""
        retry_after_s = max(1, _seconds(verdict.wait_us))
        return RateLimitedError(
            f"at most {self.per_minute} requests a minute; try again in {retry_after_s} s",
            extra={"policy": self.name, "limit": self.per_minute, "retry_after": retry_after_s},
            headers={
                "Retry-After": str(retry_after_s),
                "RateLimit-Policy": self.policy,
                "RateLimit": f'"{self.name}";r=0;t={retry_after_s}',
            },
        )


class Limiter:
    """Admits requests. Redis away: everybody passes, as the message quota is PostgreSQL's."""

    def __init__(
        self, store: AdmissionStore, sessions: Sessions, *, user: Limit, anonymous: Limit
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._user = user
        self._anonymous = anonymous
        self._warned_at = -WARN_INTERVAL_S

    async def admit(
        self, identity: Identity | None, client_ip: str, now_s: float
    ) -> ResponseHeaders:
        """Count the request and return the headers that its answer gets.

        Args:
            identity: the caller, if logged in.
            client_ip: where the request came from.
            now_s: a monotonic clock.

        Raises:
            RateLimitedError: one too many.
            SessionRevokedError: the caller's login has ended.
        """
        if identity is not None and self._sessions.has_ended(identity.session_id):
            raise SessionRevokedError  # also while Redis is away
        limit = self._anonymous if identity is None else self._user
        if identity is None and not limit.per_minute:
            return ()
        try:
            verdict = await self._store.admit(
                anonymous_subject(client_ip) if identity is None else str(identity.user_id),
                session_id=identity.session_id if identity else None,
                interval_us=limit.interval_us,
                burst=limit.burst,
            )
        except RedisError as exc:
            if now_s - self._warned_at >= WARN_INTERVAL_S:
                self._warned_at = now_s
                log.warning("rate_limits_off", error=type(exc).__name__)
            return ()
        if verdict.revoked:
            raise SessionRevokedError
        if not verdict.allowed:
            raise limit.error(verdict)
        return limit.headers(verdict) if limit.per_minute else ()


def _seconds(microseconds: int) -> int:
    return math.ceil(microseconds / 1_000_000)

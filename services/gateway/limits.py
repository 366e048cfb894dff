"""Rate limits: per user, or per address where nobody is logged in."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from libs.common.errors import SessionRevokedError
from libs.common.identity import Identity
from libs.common.rate_headers import QUOTA_EXCEEDED, policy_member, state_member
from services.gateway.errors import RateLimitedError
from services.gateway.lifetime import Sessions
from services.gateway.rules import anonymous_subject
from services.gateway.store import AdmissionStore, Verdict

log = structlog.stdlib.get_logger()
WARN_INTERVAL_S = 10.0
_UPGRADES = {None: "/subscribe/pro", "basic": "/subscribe/pro"}
"""Where users get more, by their plan; those of whose plan we know nothing have the least."""

_LISTS = (b"ratelimit", b"ratelimit-policy")
"""Headers that have a member for each limit, whoever counts it."""

ResponseHeaders = tuple[tuple[bytes, bytes], ...]
OnUnknown = Callable[[UUID, str], None]


def combined(headers: Iterable[tuple[bytes, bytes]], own: ResponseHeaders) -> ResponseHeaders:
    """Return a service's headers and `own`; limits that both tell of are members of one list."""
    headers = tuple(headers)
    merged = {
        name: b", ".join(value for each, value in (*own, *headers) if each == name)
        for name in _LISTS
    }
    kept = tuple(pair for pair in (*headers, *own) if pair[0] not in merged)
    return *kept, *((name, value) for name, value in merged.items() if value)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute for ever, and `burst` at once after a pause; 0 a minute: no limit.

    Attributes:
        name: what the `RateLimit` headers call it.
    """

    name: str
    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a limit left to a caller.

    Attributes:
        name: of the limit.
        verdict: on a request of the caller's.
        upgrade_url: where they get more, if anywhere.
    """

    name: str
    verdict: Verdict
    upgrade_url: str | None

    def headers(self, *, for_openai: bool) -> ResponseHeaders:
        """Return the answer's headers; `t` is seconds until the whole burst is there again.

        OpenAI's clients get the same by the names that they know.
        """
        reset_s = _seconds(self.verdict.wait_us)
        per_minute, remaining = self.verdict.per_minute, self.verdict.remaining
        policy = policy_member(self.name, quota=per_minute, window_s=60)
        state = state_member(self.name, remaining=remaining, reset_s=reset_s)
        headers = ((b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode()))
        if not for_openai:
            return headers
        return (
            *headers,
            (b"x-ratelimit-limit-requests", str(per_minute).encode()),
            (b"x-ratelimit-remaining-requests", str(remaining).encode()),
            (b"x-ratelimit-reset-requests", f"{reset_s}s".encode()),
        )

    def error(self, *, for_openai: bool) -> RateLimitedError:
        """Return the refusal."""
        retry_after_s = max(1, _seconds(self.verdict.wait_us))
        per_minute = self.verdict.per_minute
        detail = f"at most {per_minute} requests a minute; try again in {retry_after_s} s"
        extra = {
            "type": QUOTA_EXCEEDED,
            "violated-policies": [self.name],
            "policy": self.name,
            "limit": per_minute,
            "retry_after": retry_after_s,
        }
        if self.upgrade_url is not None:
            detail += f", or get more by POST {self.upgrade_url}"
            extra["upgrade_url"] = self.upgrade_url
        headers = {
            name.decode(): value.decode() for name, value in self.headers(for_openai=for_openai)
        }
        return RateLimitedError(
            detail, extra=extra, headers={"Retry-After": str(retry_after_s), **headers}
        )


class Limiter:
    """Admits requests. Redis away: everybody passes, as the message quota is PostgreSQL's.

    Args:
        store: counts, and knows what plans grant.
        sessions: which have ended.
        user: counts for users of whose plan nothing else is known.
        anonymous: counts for addresses.
        on_unknown: is told of users of whose plan Redis knows nothing, and their token.
    """

    def __init__(
        self,
        store: AdmissionStore,
        sessions: Sessions,
        *,
        user: Limit,
        anonymous: Limit,
        on_unknown: OnUnknown,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._user = user
        self._anonymous = anonymous
        self._on_unknown = on_unknown
        self._warned_at = -WARN_INTERVAL_S

    async def admit(
        self,
        identity: Identity | None,
        client_ip: str,
        now_s: float,
        *,
        token: str | None = None,
        for_openai: bool = False,
    ) -> ResponseHeaders:
        """Count the request and return the headers that its answer gets.

        Args:
            identity: the caller, if logged in.
            client_ip: where the request came from.
            now_s: a monotonic clock.
            token: the caller's, to ask for their plan with.
            for_openai: whether the answer is for a client of OpenAI's.

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
                per_minute=limit.per_minute,
                burst=limit.burst,
            )
        except RedisError as exc:
            if now_s - self._warned_at >= WARN_INTERVAL_S:
                self._warned_at = now_s
                log.warning("rate_limits_off", error=type(exc).__name__)
            return ()
        if verdict.revoked:
            raise SessionRevokedError
        if not limit.per_minute:
            return ()
        if identity is not None and token is not None and verdict.plan is None:
            self._on_unknown(identity.user_id, token)
        allowance = Allowance(limit.name, verdict, _upgrade_url(identity, verdict))
        if not verdict.allowed:
            raise allowance.error(for_openai=for_openai)
        return allowance.headers(for_openai=for_openai)


def _upgrade_url(identity: Identity | None, verdict: Verdict) -> str | None:
    if identity is None:
        return None
    return "/auth/upgrade" if identity.guest else _UPGRADES.get(verdict.plan)


def _seconds(microseconds: int) -> int:
    return math.ceil(microseconds / 1_000_000)

"""What makes a code or a refresh token good, dead or too much."""

import math
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal
from uuid import UUID

from services.auth.access_errors import FactorAttemptsExceededError, LastAdminError
from services.auth.access_models import Factor
from services.auth.errors import CountryNotAllowedError, OtpAttemptsExceededError, OtpCooldownError
from services.auth.models import ROLES, ApiKey, OneTimeCode, Role, Session

MAX_ATTEMPTS = 5
MAX_SENDS = 10
SEND_WINDOW = timedelta(minutes=10)
RESEND_PAUSE = timedelta(seconds=30)
"""Between two sends that cost something: a message needs that long to arrive."""

BUDGET_WINDOW = timedelta(hours=1)
RANGE_DIGITS = 4
"""Last digits of a phone number that its range leaves out."""

RANGE_FREE_SENDS = 20
"""Codes that a range of numbers gets per `BUDGET_WINDOW` before any of them has come back."""

RANGE_SENDS_PER_VERIFIED = 4
"""What each code that came back adds to that: a range where fewer do is pumped."""

MAX_FAILURES = 20
"""Wrong guesses per identifier and `FAILURE_WINDOW`, whichever codes they are made at."""

FAILURE_WINDOW = timedelta(days=1)
ADDRESS_WINDOW = timedelta(hours=1)
REUSE_WINDOW = timedelta(seconds=60)
"""How long the last but one refresh token stays good: an answer got lost, or two tabs raced."""

SESSION_LIFE = timedelta(days=30)
KEY_LEAD = timedelta(minutes=15)
"""How long a signing key is published before it signs: our processes load it within a minute,
verifiers and caches of the JWKS within five more each."""

KEY_AFTERLIFE = timedelta(hours=2)
"""How long it is published after its successor began to sign: above the longest token's life."""

CHALLENGE_LIFE = timedelta(minutes=5)
"""How long a login waits for its second factor."""
EXTERNAL_TOKEN_AGE = timedelta(days=1)
"""How old another issuer's token may be: so long we know whose account was deleted."""

GUEST_LIFE = timedelta(days=30)
"""How long a guest is kept who does not come back; whoever does so stays logged in."""

GUEST_SESSION_LIFE = timedelta(days=365)
MAX_API_KEYS = 50
"""Of one user, expired ones included."""

API_KEY_AFTERLIFE = timedelta(days=30)
"""How long an expired key stays in its owner's list, who may wonder what stopped working."""

_REVOCATION_MARGIN = timedelta(seconds=30)
"""For tokens signed just after their session ended, clocks that differ, and verifiers' leeway."""


def seconds_until(moment: datetime, now: datetime) -> int:
    """Return whole seconds, rounded up, at least 1: waiting that long is enough."""
    return max(1, math.ceil((moment - now).total_seconds()))


def is_over(code: OneTimeCode, now: datetime) -> bool:
    """Tell whether the next send makes a new code; a dead one blocks until it has expired."""
    return code.used_at is not None or code.expires_at <= now


def ensure_guesses_left(code: OneTimeCode, now: datetime) -> None:
    """Refuse a send that would be useless.

    Raises:
        OtpAttemptsExceededError: the code is dead, a new one would give five more guesses; or
            the identifier used up those of the day.
    """
    retry_at = guesses_return_at(code, now)
    if retry_at is not None:
        raise OtpAttemptsExceededError(retry_after_s=seconds_until(retry_at, now))


def ensure_may_send(code: OneTimeCode, now: datetime, *, pause: timedelta) -> None:
    """Refuse a send that would be too much.

    Raises:
        OtpCooldownError: `MAX_SENDS` went out within `SEND_WINDOW`, or one within `pause`.
    """
    wait_s = resend_in(code.sent_at, now, pause=pause)
    if wait_s:
        raise OtpCooldownError(retry_after_s=wait_s)


def ensure_country_allowed(country: str | None, allowed: Sequence[str]) -> None:
    """Refuse a number of a country that is not `allowed`; none named means all are.

    Raises:
        CountryNotAllowedError: it is not.
    """
    if allowed and country not in allowed:
        raise CountryNotAllowedError


def range_of(phone: str) -> str:
    """Return the range of 10,000 numbers that a number in E.164 lies in, e.g. `+1415555`.

    Operators are assigned ranges like that, and so are those who earn by the messages they get.
    """
    return phone[:-RANGE_DIGITS]


def guesses_return_at(code: OneTimeCode, now: datetime) -> datetime | None:
    """Return when the identifier may be guessed at again, None if it may be by now."""
    since = code.failures_since
    if since is not None and code.failures >= MAX_FAILURES and now < since + FAILURE_WINDOW:
        return since + FAILURE_WINDOW
    if not is_over(code, now) and code.attempts >= MAX_ATTEMPTS:
        return code.expires_at
    return None


def ensure_factor_guesses_left(factor: Factor, now: datetime) -> None:
    """Refuse to look at another code.

    Raises:
        FactorAttemptsExceededError: the account used up its `MAX_FAILURES` of `FAILURE_WINDOW`.
    """
    since = factor.failures_since
    if since is not None and factor.failures >= MAX_FAILURES and now < since + FAILURE_WINDOW:
        raise FactorAttemptsExceededError(retry_after_s=seconds_until(since + FAILURE_WINDOW, now))


def network_of(address: str) -> str:
    """Return what an address is counted by: its /24 in IPv4, its /64 in IPv6.

    One customer owns at least so much of IPv6, and a botnet's landlord often so much of IPv4. All
    that is no address counts as one.
    """
    try:
        parsed = ip_address(address.strip().partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return str(ip_network((parsed, 24 if parsed.version == 4 else 64), strict=False))


def recent_sends(sent_at: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return those within `SEND_WINDOW`, in order."""
    return tuple(moment for moment in sent_at if moment > now - SEND_WINDOW)


def resend_in(sent_at: Sequence[datetime], now: datetime, *, pause: timedelta) -> int:
    """Return the seconds until another send is allowed, 0 if it is already.

    Args:
        sent_at: the last sends, oldest first.
        now: UTC.
        pause: between two sends.
    """
    recent = recent_sends(sent_at, now)
    if len(recent) >= MAX_SENDS:
        return seconds_until(recent[0] + SEND_WINDOW, now)
    if recent and recent[-1] + pause > now:
        return seconds_until(recent[-1] + pause, now)
    return 0


def has_ended(session: Session, now: datetime) -> bool:
    """Tell whether nothing can refresh the session any more."""
    return session.revoked_at is not None or session.expires_at <= now


def role_in(session: Session, role: Role) -> Role:
    """Return what the session's user, who has that role, may do in it."""
    return role if session.has_factor else "user"


def includes(role: Role, needed: Role) -> bool:
    """Tell whether who has one role may do what another one may."""
    return ROLES.index(role) >= ROLES.index(needed)


def ensure_admin_remains(admins: Collection[UUID], *, without: UUID) -> None:
    """Refuse a change after which nobody can undo it.

    Raises:
        LastAdminError: there is no admin but that one.
    """
    if not set(admins) - {without}:
        raise LastAdminError


def methods_of(session: Session) -> tuple[str, ...]:
    """Return how the session's user has shown who they are, in the words of RFC 8176."""
    return ("otp", "mfa") if session.has_factor else ("otp",)


def has_key_ended(api_key: ApiKey, now: datetime) -> bool:
    """Tell whether the key cannot be rotated: it has a successor, or is too old."""
    is_over = api_key.expires_at is not None and api_key.expires_at <= now
    return is_over or api_key.replaced_by is not None


def tokens_expire_at(ended_at: datetime, *, ttl_s: int) -> datetime:
    """Return when nobody accepts access tokens any more of a session that ended then."""
    return ended_at + timedelta(seconds=ttl_s) + _REVOCATION_MARGIN


def judge_refresh(
    session: Session, *, generation: int, now: datetime
) -> Literal["rotate", "repeat", "reused"]:
    """Say what a genuine token of `generation` leads to.

    Returns:
        `rotate` for the newest token; `repeat`, the same successor again, for the one before it
        within `REUSE_WINDOW`; `reused` for any other: somebody may have copied it.
    """
    if generation == session.generation:
        return "rotate"
    if generation == session.generation - 1 and now - session.rotated_at <= REUSE_WINDOW:
        return "repeat"
    return "reused"

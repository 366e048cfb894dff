"""Second factors, and other people's accounts, as functions pass them around."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.models import Role


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor; it counts once `confirmed_at` is set.

    `failures` are wrong codes since `failures_since`.
    """

    user_id: UUID
    sealed: bytes
    created_at: datetime
    confirmed_at: datetime | None = None
    failures: int = 0
    failures_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedFactor:
    """A second factor as its user sees it."""

    created_at: datetime
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a login shows with its second factor, within `expires_in` seconds."""

    challenge: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class ListedUser:
    """An account as those see it who look after others'; `banned_at` is None for who is not."""

    id: UUID
    phone: str | None
    email: str | None
    name: str | None
    created_at: datetime
    verified: bool
    role: Role
    banned_at: datetime | None
    ban_reason: str | None

"""The service's own data, as its functions pass it around."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from libs.common.events import Plan
from libs.common.identity import Scope

IdentifierKind = Literal["phone", "email"]
Channel = Literal["sms", "email"]
Role = Literal["user", "support", "admin"]
ROLES: tuple[Role, ...] = ("user", "support", "admin")
"""Each may do what those before it may."""

LogoutScope = Literal["local", "others", "global"]
AuditAction = Literal[
    "api_key_deleted",
    "api_key_made",
    "api_key_rotated",
    "banned",
    "factor_added",
    "factor_removed",
    "guest_upgraded",
    "login",
    "recovery_code_used",
    "refresh_reused",
    "role_changed",
    "session_ended",
    "signing_key_made",
    "unbanned",
]
AuditValue = str | int | bool | list[str] | None
AuditDetail = Mapping[str, AuditValue]


@dataclass(frozen=True, slots=True)
class Identifier:
    """By what a person is known.

    Attributes:
        kind: which of the two.
        value: normalised: E.164, or a lower-case e-mail address.
    """

    kind: IdentifierKind
    value: str

    @property
    def channel(self) -> Channel:
        """How codes travel to it."""
        return "sms" if self.kind == "phone" else "email"

    @property
    def phone(self) -> str | None:
        """The phone number, if it is one."""
        return self.value if self.kind == "phone" else None

    @property
    def email(self) -> str | None:
        """The e-mail address, if it is one."""
        return self.value if self.kind == "email" else None


@dataclass(frozen=True, slots=True)
class User:
    """An account as its owner may see it; `version` counts its changes, from 1."""

    id: UUID
    phone: str | None
    email: str | None
    name: str | None
    plan: Plan
    created_at: datetime
    verified: bool
    locale: str | None = None
    timezone: str | None = None
    preferences: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    role: Role = "user"
    banned: bool = False
    guest: bool = False

    @property
    def identifier(self) -> Identifier | None:
        """The one thing that the account is known by; a guest has none."""
        if self.phone is not None:
            return Identifier("phone", self.phone)
        return None if self.email is None else Identifier("email", self.email)


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """The latest code of an identifier.

    Attributes:
        id: new with each code; a repeated one keeps it.
        nonce: 16 random bytes that make the code unpredictable.
        expires_at: when it stops being accepted.
        attempts: guesses made so far, right ones included.
        used_at: when it was accepted.
        sent_at: when codes went out to this identifier lately, oldest first.
        failures: wrong guesses at this identifier, at earlier codes too.
        failures_since: when the first of those was made.
    """

    id: UUID
    nonce: bytes
    expires_at: datetime
    attempts: int
    used_at: datetime | None
    sent_at: tuple[datetime, ...]
    failures: int = 0
    failures_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """A counted guess: what the code derives from, and how many were made, this one included."""

    id: UUID
    nonce: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        id: the access tokens' `sid`.
        user_id: whose it is.
        nonce: 16 random bytes that its refresh tokens derive from.
        generation: of the newest refresh token, from 1.
        rotated_at: when that one was first issued.
        expires_at: when the session ends, however often it is refreshed.
        revoked_at: when it was ended early.
        device: what logged in, e.g. `Firefox on Linux`.
        has_factor: whether it passed the second factor that its user has now.
    """

    id: UUID
    user_id: UUID
    nonce: bytes
    generation: int
    rotated_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    device: str | None = None
    has_factor: bool = False


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as its user sees it; `last_used_at` is when it was last refreshed."""

    id: UUID
    device: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without what makes it one.

    Attributes:
        id: `sid` of the access tokens that it is exchanged for.
        prefix: how the key begins, for its owner to recognise.
        expires_at: None for never.
        last_used_at: when it was last exchanged; it may have been used for one token's life longer.
        replaced_by: the key that it was rotated to.
    """

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = None
    replaced_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class ExternalLogin:
    """What became of somebody whom another issuer knows.

    Attributes:
        user_id: their account; None before the first token, and after the account's deletion.
        session_id: their login here; all their tokens share it while it lives.
        refused_until: tokens issued by then open nothing: the account was deleted.
    """

    user_id: UUID | None
    session_id: UUID | None
    refused_until: datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A fresh key; `key` is known to nobody else, and to nobody later."""

    key: str
    api_key: ApiKey


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An access token for the gateway to forward; `expires_in` in seconds."""

    access_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that happened to an account.

    Attributes:
        seq: from 1, without gaps.
        at: when it was written, UTC.
        actor: the user who did it; None for the system or its operator.
        subject: the user it was done to.
        action: what.
        detail: whatever else matters, without personal data.
        prev_hash: of the entry before; 32 zero bytes for the first.
        hash: SHA-256 over all of the above.
    """

    seq: int
    at: datetime
    actor: UUID | None
    subject: UUID | None
    action: str
    detail: AuditDetail
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A signing key as it is stored; it signs from `signs_from` on, until a later one does."""

    kid: str
    sealed: bytes
    signs_from: datetime


@dataclass(frozen=True, slots=True)
class OtpMessage:
    """A message with a code, to whom; of no use after `expires_at`."""

    id: UUID
    to: Identifier
    subject: str
    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stored message that this process may send; `attempts` counts this one."""

    id: UUID
    channel: Channel
    sealed: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class SentCode:
    """What the person who asked for a code may know.

    Attributes:
        expires_in: seconds until it stops being accepted.
        resend_in: seconds until it may be asked for again.
        otp: the code itself, where OTP_SENDER is `mock`.
    """

    expires_in: int
    resend_in: int
    otp: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A fresh pair of tokens and whose they are; `expires_in` is the access token's, in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: User

"""Events announced by the auth service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from libs.common.events.base import Event


class UserRegistered(Event):
    """A user signed up and proved by a one-time code whose identifier it is.

    Produced by `services.auth.actions.codes.verify_otp`; consumed by billing.

    Attributes:
        user_id: the new user.
        email: e-mail address, if the user signed up with one.
        phone: phone number in E.164, if the user signed up with one.
        name: as the user typed it.
    """

    TYPE: ClassVar[str] = "auth.user_registered.v1"

    user_id: UUID
    email: str | None = None
    phone: str | None = None
    name: str | None = None


RevocationReason = Literal["logout", "refresh_reused", "account"]


class SessionRevoked(Event):
    """A login was ended before its time.

    Produced by `services.auth.actions.sessions`; consumed by the gateway, which refuses its access
    tokens, closes its connections and tells the user's other devices.

    Attributes:
        user_id: whose login it was.
        session_id: the login, `sid` of its access tokens.
        tokens_expire_at: when the last of those is too old anyway.
        reason: the user ended it, here or from another device; an old refresh token came back; or
            something about the account made it end.
    """

    TYPE: ClassVar[str] = "auth.session_revoked.v1"

    user_id: UUID
    session_id: UUID
    tokens_expire_at: AwareDatetime
    reason: RevocationReason

"""Events announced by the auth service."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

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


class UserChanged(Event):
    """How a user can be reached, or is called, has changed; carries the whole new state.

    Produced by `services.auth.actions`; consumed by billing.

    Attributes:
        user_id: whose it is.
        version: grows with each change of this user; a reader ignores any that is not newer.
        email: the e-mail address, if the user is known by one.
        phone: the phone number in E.164, if the user is known by one.
        name: as the user typed it.
    """

    TYPE: ClassVar[str] = "auth.user_changed.v1"

    user_id: UUID
    version: int = Field(ge=1)
    email: str | None = None
    phone: str | None = None
    name: str | None = None


class UserDeleted(Event):
    """A user deleted their account: whoever keeps anything of theirs erases it.

    Produced by `services.auth.actions.deletion`; consumed by ai, billing, chat and the gateway.
    Whatever else is heard of the user, before or after, is dropped.

    Attributes:
        user_id: who is no more.
    """

    TYPE: ClassVar[str] = "auth.user_deleted.v1"

    user_id: UUID

"""Events announced by the auth service."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

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

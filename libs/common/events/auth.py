"""Events announced by the auth service."""

from typing import ClassVar
from uuid import UUID

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

"""What auth's operations take and return in common."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from libs.common.events import Plan
from libs.common.http import Body
from services.auth import templates
from services.auth.devices import device_of
from services.auth.errors import (
    AddressLimitError,
    ChannelUnavailableError,
    CountryNotAllowedError,
    NumberRangeLimitError,
    OtpAttemptsExceededError,
    OtpCooldownError,
    OtpInvalidError,
    SendBudgetExhaustedError,
)
from services.auth.identifiers import Email, Phone
from services.auth.models import Identifier
from services.auth.resources import Resources


def resources_of(request: Request) -> Resources:
    """Return what the lifespan opened."""
    resources: Resources = request.app.state.resources
    return resources


def address_of(request: Request) -> str:
    """Return the client's address: the gateway puts it, and nothing else, into the header."""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "")


def requesting_device(request: Request) -> str | None:
    """Return what the request came from, as `device_of` has it."""
    return device_of(request.headers.get("user-agent", ""))


def language_of(request: Request) -> str:
    """Return the language that the client wants to be written to in."""
    return templates.negotiate(request.headers.get("accept-language", ""))


Res = Annotated[Resources, Depends(resources_of)]
Address = Annotated[str, Depends(address_of)]
Device = Annotated[str | None, Depends(requesting_device)]
Language = Annotated[str, Depends(language_of)]


SEND_REFUSALS = (
    AddressLimitError,
    ChannelUnavailableError,
    CountryNotAllowedError,
    NumberRangeLimitError,
    OtpAttemptsExceededError,
    OtpCooldownError,
    SendBudgetExhaustedError,
)
"""Why no code is sent."""

CODE_REFUSALS = (AddressLimitError, OtpAttemptsExceededError, OtpInvalidError)
"""Why a code is not accepted."""


class IdentifierIn(Body):
    """Who it is about: exactly one of the two.

    Attributes:
        phone: with country code; spaces and dashes do not matter.
        email: capitals do not matter.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "ada@example.com"}]})

    phone: Phone | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.phone is None) == (self.email is None):
            raise PydanticCustomError("one_identifier", "send either phone or email")
        return self

    def identifier(self) -> Identifier:
        """Return the one that was sent."""
        if self.phone is not None:
            return Identifier("phone", self.phone)
        return Identifier("email", str(self.email))


class UserOut(BaseModel):
    """The user, to themselves.

    Attributes:
        plan: the plan in force.
        verified: whether a code has shown whose the identifier is.
        guest: whether it has neither a phone number nor an e-mail address yet.
        locale: BCP 47, e.g. `de-AT`.
        timezone: as in the IANA database, e.g. `Europe/Vienna`.
        preferences: whatever clients keep here.
        version: counts the changes; the `ETag`.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phone: str | None
    email: str | None
    name: str | None
    plan: Plan
    created_at: AwareDatetime
    verified: bool
    guest: bool
    locale: str | None
    timezone: str | None
    preferences: dict[str, Any]
    version: int

"""A user's own account over HTTP."""

import json
import re
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from libs.common.errors import PreconditionFailedError
from libs.common.etags import IfMatch, entity_tag
from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from libs.common.text import PlainText
from services.auth.actions import accounts, deletion, profiles
from services.auth.api.parameters import Res, UserOut
from services.auth.errors import UserNotFoundError

MAX_PREFERENCES = 4096  # bytes of JSON
MAX_DEPTH = 5
MAX_NUMBER = 2**53 - 1  # what every JSON library reads alike (RFC 7493, section 2.2)
TIMEZONES = available_timezones()
# Well-formed (RFC 5646, 2.1) but for grandfathered tags; whether anybody speaks it is not checked.
_LANGUAGE_TAG = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)
router = APIRouter(prefix="/user", tags=["user"])


def _language_tag(text: str) -> str:
    if not _LANGUAGE_TAG.fullmatch(text):
        raise PydanticCustomError("invalid_locale", "write a BCP 47 tag such as en or de-AT")
    return text


def _timezone(text: str) -> str:
    if text not in TIMEZONES:
        raise PydanticCustomError("invalid_timezone", "write an IANA name such as Europe/Vienna")
    return text


def _small(preferences: dict[str, Any]) -> dict[str, Any]:
    _ensure_plain(preferences, MAX_DEPTH)
    size = len(json.dumps(preferences, ensure_ascii=False).encode())
    if size > MAX_PREFERENCES:
        raise ValueError(f"preferences have {size} bytes; send at most {MAX_PREFERENCES}")
    return preferences


def _ensure_plain(value: Any, depth: int) -> None:
    """Refuse what PostgreSQL or another JSON library would not give back as it is."""
    match value:
        case dict() | list() if depth == 0:
            raise ValueError(f"preferences are nested deeper than {MAX_DEPTH}")
        case dict():
            for key, member in value.items():
                _ensure_plain(key, depth - 1)
                _ensure_plain(member, depth - 1)
        case list():
            for member in value:
                _ensure_plain(member, depth - 1)
        case str():
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("NUL characters and unpaired surrogates cannot be stored")
        case float() | int() if not abs(value) <= MAX_NUMBER:
            raise ValueError(f"numbers are at most {MAX_NUMBER}; send this one as text")


class UserChangeIn(Body):
    """What to change; what is left out stays, and `preferences` replace what was there.

    Attributes:
        name: null for none.
        locale: BCP 47, e.g. `de-AT`; null for none.
        timezone: as in the IANA database, e.g. `Europe/Vienna`; null for none.
        preferences: any JSON object, of at most 4,096 bytes and five levels.
    """

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None
    locale: Annotated[str, Field(max_length=35), AfterValidator(_language_tag)] | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_timezone)] | None = None
    preferences: Annotated[dict[str, Any], AfterValidator(_small)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one of name, locale, timezone, preferences")
        if "preferences" in self.model_fields_set and self.preferences is None:
            raise ValueError("send {} for no preferences")
        return self


class DeletionOut(BaseModel):
    """It has begun, and cannot be undone."""

    status: Literal["deleting"] = "deleting"


@router.get("/me", responses=problems(UserNotFoundError))
async def read_me(caller: CurrentUser, res: Res, response: Response) -> UserOut:
    """Return the user whose access token it is; the `ETag` is for `If-Match`.

    There is no `304`: the plan changes without a new version.
    """
    user = await accounts.read_me(res, caller.user_id)
    response.headers["etag"] = entity_tag(user.version)
    return UserOut.model_validate(user)


@router.patch("/me", responses=problems(UserNotFoundError, PreconditionFailedError))
async def change_me(
    body: UserChangeIn, caller: CurrentUser, res: Res, response: Response, versions: IfMatch
) -> UserOut:
    """Change your name, locale, time zone or preferences; with `If-Match` only if nobody else has.

    A time zone or locale changes nothing but what clients show.
    """
    user = await profiles.change_me(
        res, caller.user_id, body.model_dump(exclude_unset=True), versions=versions
    )
    response.headers["etag"] = entity_tag(user.version)
    return UserOut.model_validate(user)


@router.delete(
    "/me", status_code=202, responses=problems(UserNotFoundError, PreconditionFailedError)
)
async def delete_me(caller: CurrentUser, res: Res, versions: IfMatch) -> DeletionOut:
    """Delete your account and everything of yours, for good; what you pay for is cancelled first.

    Your logins end at once. The rest, in every service, is gone within seconds, or as soon as
    Stripe can be reached.
    """
    await deletion.delete_me(res, caller.user_id, versions=versions)
    return DeletionOut()

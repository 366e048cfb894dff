"""API keys over HTTP."""

from datetime import timedelta
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from libs.common.clock import utc_now
from libs.common.errors import AccountRequiredError
from libs.common.http import Body, CurrentUser
from libs.common.identity import Scope
from libs.common.problems import problems
from libs.common.text import PlainText
from services.auth.actions import api_keys, credentials
from services.auth.api.parameters import Res
from services.auth.errors import ApiKeyEndedError, ApiKeyNotFoundError, TooManyApiKeysError
from services.auth.models import MadeKey

MAX_OVERLAP_H = 168
MAX_CREDENTIAL = 8192

router = APIRouter(prefix="/user/me/api-key", tags=["user"])
internal = APIRouter()


class ApiKeyIn(Body):
    """A new key.

    Attributes:
        name: for you to recognise it by.
        scopes: `chat` for chatrooms, messages and OpenAI's endpoints, `read` for reading them, your
            account and your plan. Neither changes an account, a key or a plan.
        expires_at: when it ends; without, it does not.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Laptop", "scopes": ["chat"]}]}
    )

    name: Annotated[PlainText, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=10)]
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _ends_later(self) -> Self:
        if self.expires_at is not None and self.expires_at <= utc_now():
            raise PydanticCustomError("past_expiry", "expires_at has to lie in the future")
        return self


class RotationIn(Body):
    """How long the old key is accepted beside the new one, in hours: 0 ends it at once."""

    overlap_hours: int = Field(default=24, ge=0, le=MAX_OVERLAP_H)


class ApiKeyOut(BaseModel):
    """One of your keys.

    Attributes:
        id: names the key; it opens nothing.
        prefix: how the key begins.
        last_used_at: when it was used, 15 minutes at most before it last was.
        replaced_by: the key that it was rotated to.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    last_used_at: AwareDatetime | None
    replaced_by: UUID | None


class MadeKeyOut(ApiKeyOut):
    """A fresh key: send `key` as `Authorization: Bearer`. It is never shown again."""

    key: str


class ApiKeyList(BaseModel):
    """All of your keys, the newest first: there are few."""

    data: list[ApiKeyOut]
    next_cursor: None = None
    has_more: bool = False


class ExchangeIn(Body):
    """What a caller sent to the gateway."""

    credential: str = Field(min_length=1, max_length=MAX_CREDENTIAL)


class ExchangedOut(BaseModel):
    """An access token in its place; `expires_in` seconds."""

    model_config = ConfigDict(from_attributes=True)

    access_token: str
    expires_in: int


@router.post("", status_code=201, responses=problems(AccountRequiredError, TooManyApiKeysError))
async def make_api_key(body: ApiKeyIn, caller: CurrentUser, res: Res) -> MadeKeyOut:
    """Make an API key, at most 50. It is shown here and never again.

    It is accepted wherever an access token is, as far as its scopes go. Repeating the request makes
    another key: delete the one whose answer was lost.
    """
    made = await api_keys.make(
        res, caller, name=body.name, scopes=body.scopes, expires_at=body.expires_at
    )
    return _shown(made)


@router.get("")
async def list_api_keys(caller: CurrentUser, res: Res) -> ApiKeyList:
    """List your API keys; one that has expired stays in the list for 30 days."""
    found = await api_keys.list_keys(res, caller)
    return ApiKeyList(data=[ApiKeyOut.model_validate(each) for each in found])


@router.delete("/{key_id}", status_code=204, responses=problems(ApiKeyNotFoundError))
async def delete_api_key(key_id: UUID, caller: CurrentUser, res: Res) -> None:
    """Delete an API key: it is refused, and its streams and sockets closed, within a second."""
    await api_keys.delete(res, caller, key_id)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    responses=problems(ApiKeyNotFoundError, ApiKeyEndedError, TooManyApiKeysError),
)
async def rotate_api_key(
    key_id: UUID, caller: CurrentUser, res: Res, body: RotationIn | None = None
) -> MadeKeyOut:
    """Make a key in the place of this one, which is accepted for 24 hours more, or as you say."""
    overlap = timedelta(hours=(body or RotationIn()).overlap_hours)
    return _shown(await api_keys.rotate(res, caller, key_id, overlap=overlap))


@internal.post("/exchange", include_in_schema=False)
async def exchange(body: ExchangeIn, res: Res) -> ExchangedOut:
    """Trade an API key, or another issuer's token, for an access token of ours.

    For the gateway, which leads nobody else here.
    """
    return ExchangedOut.model_validate(await credentials.exchange(res, body.credential))


def _shown(made: MadeKey) -> MadeKeyOut:
    shown = ApiKeyOut.model_validate(made.api_key)
    return MadeKeyOut(**shown.model_dump(), key=made.key)

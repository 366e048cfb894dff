"""Sessions over HTTP."""

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from services.auth.actions import sessions
from services.auth.api.parameters import Res, UserOut
from services.auth.errors import RefreshInvalidError, RefreshReusedError, SessionNotFoundError
from services.auth.models import LogoutScope

JWKS_MAX_AGE_S = 300
MAX_PAGE = 100

_PUBLIC_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "use": "sig",
    "alg": "EdDSA",
    "kid": "2026-11-23",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
_KEYS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"keys": [_PUBLIC_KEY]}}}}
}

router = APIRouter(tags=["auth"])


class RefreshIn(Body):
    """The last refresh token received."""

    refresh_token: str = Field(min_length=1, max_length=200)


class GrantOut(BaseModel):
    """Tokens; send `access_token` as `Authorization: Bearer`, keep `refresh_token` secret.

    Attributes:
        access_token: a JWT.
        token_type: RFC 6750.
        expires_in: seconds that the access token is accepted.
        refresh_token: opaque; each refresh returns the next one to use.
        user: whose they are.
    """

    model_config = ConfigDict(from_attributes=True)

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a scheme
    expires_in: int
    refresh_token: str
    user: UserOut


class SessionOut(BaseModel):
    """One of your logins.

    Attributes:
        id: the login.
        device: what it came from as far as that told, e.g. `Firefox on Linux`. Addresses are not
            kept.
        created_at: when you logged in.
        last_used_at: when it last got tokens, so it may have been used 15 minutes longer.
        expires_at: when it ends, however often it is used.
        current: whether it is the one that asks.
    """

    id: UUID
    device: str | None
    created_at: AwareDatetime
    last_used_at: AwareDatetime
    expires_at: AwareDatetime
    current: bool


class SessionPage(BaseModel):
    """A page of logins; pass `next_cursor` as `cursor` for older ones."""

    data: list[SessionOut]
    next_cursor: UUID | None
    has_more: bool


@router.post("/auth/refresh", responses=problems(RefreshInvalidError, RefreshReusedError))
async def refresh(body: RefreshIn, res: Res) -> GrantOut:
    """Trade a refresh token for the next one and a fresh access token.

    The token before the newest is accepted for 60 seconds more and leads to the same successor;
    an older one ends the session.
    """
    return GrantOut.model_validate(await sessions.refresh(res, body.refresh_token))


@router.post("/auth/logout", status_code=204)
async def log_out(caller: CurrentUser, res: Res, scope: LogoutScope = "local") -> None:
    """End this login, all `others` of yours, or all of them (`global`).

    Tokens of an ended login are refused, and its streams and sockets closed, within a second.
    """
    await sessions.log_out(res, caller, scope)


@router.get("/auth/session")
async def list_sessions(
    caller: CurrentUser,
    res: Res,
    cursor: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> SessionPage:
    """List where you are logged in, the newest login first."""
    found = await sessions.list_sessions(res, caller, before=cursor, limit=limit + 1)
    data = [
        SessionOut(**asdict(each), current=each.id == caller.session_id) for each in found[:limit]
    ]
    has_more = len(found) > limit
    return SessionPage(data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more)


@router.delete(
    "/auth/session/{session_id}", status_code=204, responses=problems(SessionNotFoundError)
)
async def end_session(session_id: UUID, caller: CurrentUser, res: Res) -> None:
    """End one of your logins, as logging out there would."""
    await sessions.end_session(res, caller, session_id)


@router.get("/.well-known/jwks.json", responses=_KEYS)
async def read_jwks(res: Res, response: Response) -> dict[str, list[dict[str, Any]]]:
    """Return the public keys that verify access tokens (RFC 7517)."""
    response.headers["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_S}"
    return res.keyring.jwks()

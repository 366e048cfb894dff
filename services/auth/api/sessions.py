"""Sessions over HTTP."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.http import Body
from services.auth.actions import sessions
from services.auth.api.parameters import Res, UserOut

JWKS_MAX_AGE_S = 300

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


@router.post("/auth/refresh")
async def refresh(body: RefreshIn, res: Res) -> GrantOut:
    """Trade a refresh token for the next one and a fresh access token.

    The token before the newest is accepted for 60 seconds more and leads to the same successor;
    an older one ends the session.
    """
    return GrantOut.model_validate(await sessions.refresh(res, body.refresh_token))


@router.get("/.well-known/jwks.json")
async def read_jwks(res: Res, response: Response) -> dict[str, list[dict[str, Any]]]:
    """Return the public keys that verify access tokens (RFC 7517)."""
    response.headers["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_S}"
    return res.keyring.jwks()

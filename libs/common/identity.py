"""Who is calling: verify the access token that auth issued and nobody else could have.

Tokens are JWTs signed with EdDSA (RFC 8037), of type `at+jwt` (RFC 9068); keys come from auth's
JWKS and from nowhere else. No other header is believed.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from uuid import UUID

import httpx2
import jwt
import structlog
from fastapi import Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from libs.common.errors import LoginRequiredError, UnauthenticatedError, UnavailableError

log = structlog.stdlib.get_logger()
ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type
ISSUER = "thoughtflow"
AUDIENCE = "thoughtflow"
CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "role"]
LEEWAY_S = 5
MAX_TOKEN_LENGTH = 4096
MAX_CACHED = 4096
REFRESH_INTERVAL_S = 5.0
"""Seconds between two looks at the JWKS, so that made-up key ids cannot flood auth."""

KEYS_REFRESH_S = 300.0
"""Seconds until the keys are looked at again: new ones are known before they sign, and withdrawn
ones forgotten."""

KEYS_RETRY_S = 30.0
"""The same after a look that failed; until then the keys that we have count."""

RETRY_INTERVAL_S = 1.0
"""The same after a look that failed: whoever logs in meanwhile waits no longer than this."""

FETCH_TIMEOUT_S = 2.0

Scope = Literal["chat", "read"]
"""What an API key is for: all that has to do with chats, or reading alone."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})


class TokenExpiredError(UnauthenticatedError):
    """The access token is too old; refresh it."""

    code = "token_expired"


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller.

    Attributes:
        user_id: whose token it is.
        session_id: the login it came from, or the API key.
        role: `user`, `support` or `admin`.
        expires_at: Unix time, seconds.
        scopes: of the API key; None for a login, which may do everything.
        guest: whether nobody knows who it is; guests get less.
    """

    user_id: UUID
    session_id: UUID
    role: str
    expires_at: int
    scopes: frozenset[str] | None = None
    guest: bool = False


class TokenVerifier:
    """Verifies tokens and remembers the good ones until they expire."""

    key_types: ClassVar = frozenset({"OKP"})
    """Kinds of published keys that are looked at (`kty`, RFC 7518)."""

    def __init__(self, jwks_url: str) -> None:
        self._jwks_url = jwks_url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._verified: dict[str, Identity] = {}
        self._next_look_at = 0.0
        self._stale_at = 0.0
        self._auth_is_away = False
        self._looking = asyncio.Lock()
        self._client: httpx2.AsyncClient | None = None

    async def verify(self, token: str) -> Identity:
        """Return whose token it is.

        Raises:
            TokenExpiredError: it was good once.
            UnauthenticatedError: it is no token of ours.
            UnavailableError: auth's keys cannot be had now.
        """
        identity = self._verified.get(token)
        if identity is None:
            identity = await self._verify(token)
            if len(self._verified) >= MAX_CACHED:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = identity
        if identity.expires_at + LEEWAY_S <= time.time():
            self._verified.pop(token, None)
            raise TokenExpiredError("the access token has expired; refresh it or log in again")
        return identity

    def remembers(self, token: str) -> bool:
        """Tell whether the token was found to be good before; it may have expired since."""
        return token in self._verified

    async def _verify(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN_LENGTH:
            raise UnauthenticatedError("the access token is not one of ours")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TOKEN_TYPE:
                raise UnauthenticatedError("the access token is not valid; log in again")
            key = await self._key(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": CLAIMS},
            )
            return _identity(claims)
        except jwt.ExpiredSignatureError as exc:
            raise TokenExpiredError(
                "the access token has expired; refresh it or log in again"
            ) from exc
        except (jwt.InvalidTokenError, ValueError) as exc:
            raise UnauthenticatedError("the access token is not valid; log in again") from exc

    async def _key(self, header: dict[str, object]) -> jwt.PyJWK:
        kid = str(header.get("kid"))
        if kid not in self._keys:
            await self._look_for(kid)
        elif time.monotonic() >= self._stale_at:
            await self._look_again()
        try:
            return self._keys[kid]
        except KeyError as exc:
            raise UnauthenticatedError("the access token is not valid; log in again") from exc

    async def _look_for(self, kid: str) -> None:
        """Fetch the keys for all who wait, unless somebody did a moment ago.

        Raises:
            UnavailableError: the last look failed, so the key may well exist.
        """
        async with self._looking:
            if kid not in self._keys and time.monotonic() >= self._next_look_at:
                self._auth_is_away = True
                self._next_look_at = time.monotonic() + RETRY_INTERVAL_S
                await self._replace_keys()
                self._auth_is_away = False
                self._next_look_at = time.monotonic() + REFRESH_INTERVAL_S
            if kid not in self._keys and self._auth_is_away:
                raise _unavailable()

    async def _look_again(self) -> None:
        """Fetch the keys, for one caller at a time; the others go on with those that we have."""
        self._stale_at = time.monotonic() + KEYS_RETRY_S
        with suppress(UnavailableError):
            await self._replace_keys()

    async def _replace_keys(self) -> None:
        known = self._keys
        await self._fetch_keys()
        self._stale_at = time.monotonic() + KEYS_REFRESH_S
        if known.keys() - self._keys.keys():
            self._verified.clear()  # what a withdrawn key has signed counts no longer

    async def _fetch_keys(self) -> None:
        if self._client is None:
            # Making one costs 40 ms of CPU. It keeps no connections, so there is nothing to close.
            limits = httpx2.Limits(max_keepalive_connections=0)
            self._client = httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S, limits=limits)
        try:
            response = await self._client.get(self._jwks_url)
            response.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(response.json()).keys
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError) as exc:
            log.warning("jwks_unavailable", error=type(exc).__name__)
            raise _unavailable() from exc
        self._keys = {
            key.key_id: key for key in keys if key.key_id and key.key_type in self.key_types
        }


def _identity(claims: dict[str, Any]) -> Identity:
    scope = claims.get("scope")
    return Identity(
        UUID(claims["sub"]),
        UUID(claims["sid"]),
        str(claims["role"]),
        int(claims["exp"]),
        None if scope is None else frozenset(str(scope).split()),
        claims.get("guest") is True,
    )


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "tokens cannot be checked right now; try again", headers={"Retry-After": "1"}
    )


def bearer_token(authorization: str | None) -> str:
    """Return the token of an `Authorization` header.

    Raises:
        UnauthenticatedError: there is none, or it is not `Bearer`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("send your access token as 'Authorization: Bearer <token>'")
    return token.strip()


async def authenticate(request: Request) -> Identity:
    """Return the caller of `request`; see `TokenVerifier.verify` for what it raises.

    The gateway knows what each API key is for. Here no key changes anything unless the service says
    that keys may, so that no mistake there opens an account.

    Raises:
        LoginRequiredError: it is a key's token, and would change what no key may.
    """
    state = request.app.state
    verifier: TokenVerifier = state.verifier
    identity = await verifier.verify(bearer_token(request.headers.get("authorization")))
    if (
        identity.scopes is not None
        and request.method not in _SAFE_METHODS
        and not ("chat" in identity.scopes and getattr(state, "keys_may_write", False))
    ):
        raise LoginRequiredError
    return identity


class BearerIdentity(SecurityBase):
    """FastAPI dependency that documents the bearer scheme and yields the caller."""

    def __init__(self) -> None:
        self.model = HTTPBearerModel(bearerFormat="JWT")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request) -> Identity:
        return await authenticate(request)

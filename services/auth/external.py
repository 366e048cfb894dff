"""Tokens of another issuer, who is believed in who its users are and in nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from libs.common.errors import UnauthenticatedError
from libs.common.identity import LEEWAY_S, TokenExpiredError, TokenVerifier

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
"""Signatures by a key that only the issuer has: not `none`, nor HMAC by a key that we have too."""

MIN_RSA_BITS = 2048
MAX_SUBJECT_LENGTH = 255
CLAIMS = ["iss", "aud", "sub", "iat", "exp"]
_REFUSED = "the access token is not valid; get another from where you logged in"


@dataclass(frozen=True, slots=True)
class ExternalIdentity:
    """Whose token it is, and from when until when it is good."""

    issuer: str
    subject: str
    issued_at: datetime
    expires_at: datetime


class ExternalVerifier(TokenVerifier):
    """Verifies tokens of one issuer with the keys that it publishes."""

    key_types: ClassVar = frozenset({"RSA", "EC", "OKP"})

    def __init__(self, jwks_url: str, *, issuer: str, audience: str) -> None:
        super().__init__(jwks_url)
        self._issuer = issuer
        self._audience = audience

    async def identify(self, token: str) -> ExternalIdentity:
        """Return whose token it is.

        Raises:
            TokenExpiredError: it was good once.
            UnauthenticatedError: it is no token of the issuer's for us.
            UnavailableError: its keys cannot be had now.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=[_algorithm(key)],  # the key's, whatever the token says
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": CLAIMS},
            )
            return _identity(claims)
        except jwt.ExpiredSignatureError as exc:
            raise TokenExpiredError(
                "the access token has expired; get another from where you logged in"
            ) from exc
        except (jwt.InvalidTokenError, ValueError, OverflowError) as exc:
            raise UnauthenticatedError(_REFUSED) from exc


def _algorithm(key: jwt.PyJWK) -> str:
    """Return what the key signs by; raises where that, or the key, is not good enough."""
    is_weak = isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS
    if key.algorithm_name not in ALGORITHMS or key.public_key_use not in {None, "sig"} or is_weak:
        raise UnauthenticatedError(_REFUSED)
    return key.algorithm_name


def _identity(claims: dict[str, Any]) -> ExternalIdentity:
    subject = claims["sub"]
    if not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise ValueError("nobody is called that")
    issued_at, expires_at = (datetime.fromtimestamp(claims[at], UTC) for at in ("iat", "exp"))
    return ExternalIdentity(claims["iss"], subject, issued_at, expires_at)

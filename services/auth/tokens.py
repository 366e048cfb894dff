"""Access tokens: the keys that sign them, the JWKS that proves them."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.identity import ALGORITHM, AUDIENCE, ISSUER, TOKEN_TYPE, TokenVerifier
from services.auth.derivation import derive_key
from services.auth.models import SealedKey

_NONCE_BYTES = 12  # of AES-GCM, NIST SP 800-38D section 8.2


class SigningKeyLockedError(Exception):
    """The stored signing keys were sealed under another AUTH_SECRET."""


def make_sealed_key(secret: str, *, signs_from: datetime) -> SealedKey:
    """Return a fresh Ed25519 key, readable only with `secret`."""
    kid = str(new_id())
    nonce = secrets.token_bytes(_NONCE_BYTES)
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    sealed = AESGCM(derive_key(secret, "signing-key")).encrypt(nonce, raw, kid.encode())
    return SealedKey(kid, nonce + sealed, signs_from)


class Keyring:
    """The service's signing keys: all are published, the newest whose time has come signs."""

    def __init__(self, stored: Sequence[SealedKey], *, secret: str) -> None:
        """Open the stored keys as `load` does."""
        self._secret = secret
        self.load(stored)

    def load(self, stored: Sequence[SealedKey]) -> None:
        """Hold these keys and no others from now on, oldest first, at least one.

        Raises:
            SigningKeyLockedError: our secret is not the one they were sealed with.
        """
        self._keys = {key.kid: _unseal(key, self._secret) for key in stored}
        self._stored = tuple(stored)

    def sign(
        self,
        *,
        user_id: UUID,
        session_id: UUID,
        role: str,
        issued_at: datetime,
        ttl_s: int,
        scopes: Sequence[str] | None = None,
        guest: bool = False,
        methods: Sequence[str] = (),
    ) -> str:
        """Return an access token (RFC 9068) that is good for `ttl_s` seconds.

        With `scopes` it may do no more than they say. `methods` say how the user has shown who they
        are (RFC 8176). `acr` is a word of ours, and claims no level of NIST's: both steps show what
        somebody has.
        """
        now = int(issued_at.timestamp())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + ttl_s,
            "role": role,
        }
        if methods:
            claims |= {"amr": list(methods), "acr": "two_steps" if "mfa" in methods else "one_step"}
        if scopes is not None:
            claims["scope"] = " ".join(scopes)
        if guest:
            claims["guest"] = True
        kid = self._kid_at(issued_at)
        return jwt.encode(claims, self._keys[kid], ALGORITHM, {"kid": kid, "typ": TOKEN_TYPE})

    def _kid_at(self, moment: datetime) -> str:
        due = [key.kid for key in self._stored if key.signs_from <= moment]
        return due[-1] if due else self._stored[0].kid  # the first, made by a faster clock

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the public keys as a JWK Set (RFC 7517, RFC 8037)."""
        return {
            "keys": [
                {
                    **jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True),
                    "kid": kid,
                    "alg": ALGORITHM,
                    "use": "sig",
                }
                for kid, key in self._keys.items()
            ]
        }


def _unseal(key: SealedKey, secret: str) -> Ed25519PrivateKey:
    nonce, sealed = key.sealed[:_NONCE_BYTES], key.sealed[_NONCE_BYTES:]
    try:
        raw = AESGCM(derive_key(secret, "signing-key")).decrypt(nonce, sealed, key.kid.encode())
    except InvalidTag as exc:
        raise SigningKeyLockedError(
            "AUTH_SECRET is not the one that the signing keys were stored under: restore it, or "
            "delete the rows of auth.signing_key, after which everybody has to log in again"
        ) from exc
    return Ed25519PrivateKey.from_private_bytes(raw)


class LocalVerifier(TokenVerifier):
    """Verifies with our own keys instead of asking ourselves for them over HTTP."""

    def __init__(self, keyring: Keyring) -> None:
        super().__init__("")
        self._keyring = keyring

    @override
    async def _look_for(self, kid: str) -> None:
        await self._fetch_keys()  # as often as anybody likes: it asks nobody

    @override
    async def _fetch_keys(self) -> None:
        keys = jwt.PyJWKSet.from_dict(self._keyring.jwks()).keys
        self._keys = {key.key_id: key for key in keys if key.key_id}

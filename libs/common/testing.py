"""Helpers for tests; imported by no production module."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.identity import ALGORITHM, AUDIENCE, ISSUER, TOKEN_TYPE, TokenVerifier

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T]], *, within_s: float = 5) -> T:
    """Call `probe` every 20 ms until it returns something truthy, and return that.

    Raises:
        AssertionError: it stayed falsy for `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := await probe():
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing after {within_s} s")


def counted(sample: str, **labels: str) -> float:
    """Return what this process tells Prometheus, e.g. of `..._total`; 0 for nothing yet."""
    return REGISTRY.get_sample_value(sample, labels) or 0.0


class TokenIssuer:
    """Stands in for auth: signs tokens, and makes the verifier that accepts them."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.kid = "test"

    def token(self, user_id: UUID, **claims: Any) -> str:
        """Return an access token of `user_id`; `claims` replace the usual ones, None removes."""
        now = int(time.time())
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(new_id()),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + 900,
            "role": "user",
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        headers = {"kid": self.kid, "typ": TOKEN_TYPE}
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers=headers)

    def authorization(self, user_id: UUID) -> dict[str, str]:
        """Return the header that a client of `user_id` sends."""
        return {"Authorization": f"Bearer {self.token(user_id)}"}

    def jwks(self) -> dict[str, Any]:
        """Return the public key as auth would publish it."""
        raw = self._key.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        return {
            "keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "alg": ALGORITHM}]
        }

    def verifier(self) -> TokenVerifier:
        """Return a verifier that knows this issuer's key and asks nobody."""
        return _LocalVerifier(self.jwks())


class _LocalVerifier(TokenVerifier):
    def __init__(self, jwks: dict[str, Any]) -> None:
        super().__init__("http://nowhere")
        self._jwks = jwks

    @override
    async def _fetch_keys(self) -> None:
        self._keys = {
            key.key_id: key for key in jwt.PyJWKSet.from_dict(self._jwks).keys if key.key_id
        }

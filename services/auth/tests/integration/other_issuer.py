"""Another issuer of tokens: its keys of every kind, its server, and people who come by them."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.auth.settings import Settings
from services.auth.tests.integration.key_owner import exchange
from services.auth.tests.integration.person import Person

ISSUER, AUDIENCE = "https://login.example.com/", "chats"
HMAC_KEY = "a key that is published by mistake"
SUBJECT = "auth0|ada"


class OtherIssuer:
    """Signs tokens by `keys`, and publishes those in `published`.

    Attributes:
        url: of its JWK Set.
        is_away: whether that answers 503.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/jwks.json"
        self.is_away = False
        self.keys: dict[str, tuple[str, Any]] = {
            "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "ed": ("EdDSA", Ed25519PrivateKey.generate()),
            "weak": ("RS256", rsa.generate_private_key(65537, 1024)),
            "p521": ("ES512", ec.generate_private_key(ec.SECP521R1())),
            "sealing": ("RS256", rsa.generate_private_key(65537, 2048)),
            "hmac": ("HS256", HMAC_KEY),
            "secret": ("EdDSA", Ed25519PrivateKey.generate()),
        }
        self.published = self.keys.keys() - {"secret"}
        self.app = Starlette(routes=[Route("/jwks.json", self._publish)])

    def token(self, kid: str = "rsa", **changes: Any) -> str:
        """Return a token; `changes` replace claims, None removes one."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now,
            "exp": now + 3600,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        algorithm, key = self.keys[kid]
        return jwt.encode(claims, key, algorithm, {"kid": kid})

    def jwk(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        codec = jwt.get_algorithm_by_name(algorithm)
        jwk = codec.to_jwk(key if kid == "hmac" else key.public_key(), as_dict=True)
        return {**jwk, "kid": kid} | ({"use": "enc"} if kid == "sealing" else {})

    async def _publish(self, request: Request) -> JSONResponse:
        del request
        if self.is_away:
            return JSONResponse({}, 503)
        return JSONResponse({"keys": [self.jwk(kid) for kid in sorted(self.published)]})


@asynccontextmanager
async def open_issuer() -> AsyncIterator[OtherIssuer]:
    """Run its server on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    issuer = OtherIssuer(listener.getsockname()[1])
    config = uvicorn.Config(issuer.app, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield issuer
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


async def enter(ada: Person, token: str) -> dict[str, Any]:
    """Return our token in the place of theirs, as a login, with its claims."""
    answer = await exchange(ada, token)
    assert answer.status_code == 200, answer.text
    login: dict[str, Any] = answer.json()
    claims = jwt.decode(login["access_token"], options={"verify_signature": False})
    return login | {"claims": claims}


async def refused(ada: Person, token: str) -> str:
    answer = await exchange(ada, token)
    return f"{answer.status_code} {answer.json().get('code')}"


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


def configured(settings: Settings, issuer: OtherIssuer) -> Settings:
    """Return settings by which auth accepts the issuer's tokens."""
    given = {
        "external_issuer": ISSUER,
        "external_jwks_url": issuer.url,
        "external_audience": AUDIENCE,
    }
    return settings.model_copy(update=given)

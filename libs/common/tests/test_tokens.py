import asyncio
import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import jwt
import orjson
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from libs.common import identity
from libs.common.clock import new_id
from libs.common.errors import UnauthenticatedError, UnavailableError
from libs.common.identity import (
    ALGORITHM,
    KEYS_REFRESH_S,
    KEYS_RETRY_S,
    REFRESH_INTERVAL_S,
    TOKEN_TYPE,
    TokenExpiredError,
    TokenVerifier,
    bearer_token,
)
from libs.common.testing import TokenIssuer


class Auth:
    """What auth is to the others: a JWKS, and how often it was asked for."""

    def __init__(self) -> None:
        self.jwks: dict[str, Any] = {"keys": []}
        self.status = 200
        self.asked = 0

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": orjson.dumps(self.jwks)})


class Clock:
    """The verifier's clock, which a test can put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        monkeypatch.setattr(
            identity,
            "time",
            SimpleNamespace(
                time=lambda: time.time() + self.ahead_s,
                monotonic=lambda: time.monotonic() + self.ahead_s,
            ),
        )


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
async def auth(issuer: TokenIssuer) -> Auth:
    auth = Auth()
    auth.jwks = issuer.jwks()
    return auth


@pytest.fixture
async def verifier(auth: Auth) -> AsyncIterator[TokenVerifier]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(auth, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    yield TokenVerifier(f"http://127.0.0.1:{listener.getsockname()[1]}")
    server.should_exit = True
    await task
    listener.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def resigned(token: str, key: Any, *, algorithm: str = ALGORITHM, **header: Any) -> str:
    """Return the claims of `token` under another signature."""
    claims = jwt.decode(token, options={"verify_signature": False})
    headers = {"kid": "test", "typ": TOKEN_TYPE, **header}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


async def test_a_good_token_tells_who_calls_and_the_keys_are_fetched_once(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    user_id, session_id = new_id(), new_id()

    for _ in range(2):
        caller = await verifier.verify(issuer.token(user_id, sid=str(session_id), role="admin"))
        assert (caller.user_id, caller.session_id, caller.role) == (user_id, session_id, "admin")

    assert auth.asked == 1


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "role"])
async def test_a_token_without_one_of_the_claims_is_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, name: str
) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(issuer.token(new_id(), **{name: None}))


@pytest.mark.parametrize("claims", [{"iss": "other"}, {"aud": "other"}, {"sid": "x"}, {"sub": "x"}])
async def test_a_token_for_somebody_else_is_refused(
    verifier: TokenVerifier, issuer: TokenIssuer, claims: dict[str, str]
) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(issuer.token(new_id(), **claims))


@pytest.mark.parametrize("typ", ["JWT", "refresh+jwt", None])
async def test_a_token_of_another_type_is_refused_even_if_auth_signed_it(
    verifier: TokenVerifier, issuer: TokenIssuer, typ: str | None
) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(resigned(issuer.token(new_id()), issuer._key, typ=typ))


async def test_only_a_signature_of_auths_key_counts(
    verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    token = issuer.token(new_id())
    public = issuer._key.public_key().public_bytes_raw()
    head, body, signature = token.split(".")
    for forged in (
        resigned(token, Ed25519PrivateKey.generate()),
        resigned(token, None, algorithm="none"),
        resigned(token, public, algorithm="HS256"),  # the key that everybody knows
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature}".replace(".", "", 1),
        "x" * (identity.MAX_TOKEN_LENGTH + 1),
    ):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(forged)


async def test_a_shared_secret_among_the_keys_signs_nothing(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    shared = {
        "kty": "oct",
        "alg": "HS256",
        "kid": "shared",
        "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
    }
    auth.jwks = {"keys": [*auth.jwks["keys"], shared]}
    token = resigned(issuer.token(new_id()), secret, algorithm="HS256", kid="shared")

    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


async def test_a_token_that_was_good_is_refused_once_it_has_expired(
    verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    token = issuer.token(new_id())
    await verifier.verify(token)

    clock.ahead_s = 900 + identity.LEEWAY_S

    with pytest.raises(TokenExpiredError):
        await verifier.verify(token)


async def test_a_token_that_is_too_old_at_first_sight_is_called_expired(
    verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    with pytest.raises(TokenExpiredError):
        await verifier.verify(issuer.token(new_id(), exp=int(time.time()) - 60))


async def test_made_up_key_ids_make_nobody_ask_auth_more_than_once_in_a_while(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    token = issuer.token(new_id())
    for n in range(20):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(resigned(token, issuer._key, kid=f"made-up-{n}"))
    assert auth.asked == 1

    clock.ahead_s = REFRESH_INTERVAL_S
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(resigned(token, issuer._key, kid="made-up"))

    assert auth.asked == 2


async def test_a_new_key_counts_as_soon_as_auth_may_be_asked_again(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    await verifier.verify(issuer.token(new_id()))
    rotated = TokenIssuer()
    rotated.kid = "rotated"
    auth.jwks = {"keys": [*issuer.jwks()["keys"], *rotated.jwks()["keys"]]}

    clock.ahead_s = REFRESH_INTERVAL_S

    await verifier.verify(rotated.token(new_id()))
    await verifier.verify(issuer.token(new_id()))


async def test_while_auth_is_away_new_keys_wait_and_known_ones_count(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    await verifier.verify(issuer.token(new_id()))
    auth.status = 503
    clock.ahead_s = REFRESH_INTERVAL_S

    await verifier.verify(issuer.token(new_id()))
    with pytest.raises(UnavailableError):
        await verifier.verify(resigned(issuer.token(new_id()), issuer._key, kid="new"))


async def test_a_key_is_known_before_it_signs_and_forgotten_once_it_is_withdrawn(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    """J4: made-up key ids do not keep the verifier from the one that comes next."""
    old = issuer.token(new_id())
    await verifier.verify(old)
    rotated = TokenIssuer()
    rotated.kid = "rotated"
    auth.jwks = {"keys": [*issuer.jwks()["keys"], *rotated.jwks()["keys"]]}

    clock.ahead_s = KEYS_REFRESH_S
    await verifier.verify(issuer.token(new_id()))
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(resigned(old, issuer._key, kid="made-up"))
    await verifier.verify(rotated.token(new_id()))
    await verifier.verify(old)

    auth.jwks = rotated.jwks()
    clock.ahead_s += KEYS_REFRESH_S
    await verifier.verify(rotated.token(new_id()))
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(old)


async def test_keys_that_cannot_be_looked_at_again_go_on_to_count(
    auth: Auth, verifier: TokenVerifier, issuer: TokenIssuer, clock: Clock
) -> None:
    await verifier.verify(issuer.token(new_id()))
    auth.status = 503
    clock.ahead_s = KEYS_REFRESH_S

    for _ in range(5):
        await verifier.verify(issuer.token(new_id()))
    assert auth.asked == 2

    clock.ahead_s += KEYS_RETRY_S
    await verifier.verify(issuer.token(new_id()))
    assert auth.asked == 3


async def test_remembered_tokens_are_bounded(
    verifier: TokenVerifier, issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MAX_CACHED", 3)

    for _ in range(10):
        await verifier.verify(issuer.token(new_id()))

    assert len(verifier._verified) == 3


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic x", "x", "Bearerx"])
def test_only_a_bearer_header_holds_a_token(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        bearer_token(header)

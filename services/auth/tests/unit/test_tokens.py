from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import jwt
import pytest

from libs.common.clock import utc_now
from libs.common.errors import UnauthenticatedError
from libs.common.identity import CLAIMS, TOKEN_TYPE, TokenExpiredError
from services.auth.models import SealedKey
from services.auth.refresh_tokens import RefreshTokens, parse
from services.auth.tokens import Keyring, LocalVerifier, SigningKeyLockedError, make_sealed_key

SECRET = "a secret of the tests"
USER, SESSION = UUID(int=1), UUID(int=2)
NONCE = b"n" * 16


def made(*, in_s: int = -3600) -> SealedKey:
    """Return a key that signs after so many seconds."""
    return make_sealed_key(SECRET, signs_from=utc_now() + timedelta(seconds=in_s))


def sign(keyring: Keyring, *, age_s: int = 0) -> str:
    issued_at = utc_now() - timedelta(seconds=age_s)
    return keyring.sign(
        user_id=USER, session_id=SESSION, role="user", issued_at=issued_at, ttl_s=900
    )


async def test_a_token_names_its_user_session_and_role() -> None:
    keyring = Keyring([made()], secret=SECRET)

    token = sign(keyring)
    identity = await LocalVerifier(keyring).verify(token)

    assert (identity.user_id, identity.session_id, identity.role) == (USER, SESSION, "user")
    assert jwt.get_unverified_header(token) == {
        "alg": "EdDSA",
        "typ": TOKEN_TYPE,
        "kid": keyring.jwks()["keys"][0]["kid"],
    }
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == set(CLAIMS)
    assert claims["exp"] - claims["iat"] == 900


async def test_a_token_expires() -> None:
    keyring = Keyring([made()], secret=SECRET)

    with pytest.raises(TokenExpiredError):
        await LocalVerifier(keyring).verify(sign(keyring, age_s=906))


async def test_a_token_of_another_keyring_is_refused() -> None:
    ours, theirs = (Keyring([made()], secret=SECRET) for _ in range(2))

    with pytest.raises(UnauthenticatedError):
        await LocalVerifier(ours).verify(sign(theirs))


async def test_the_newest_key_signs_and_the_older_one_still_verifies() -> None:
    old, new = made(), made()
    keyring = Keyring([old, new], secret=SECRET)

    assert jwt.get_unverified_header(sign(keyring))["kid"] == new.kid
    identity = await LocalVerifier(keyring).verify(sign(Keyring([old], secret=SECRET)))
    assert identity.user_id == USER


def test_the_jwks_holds_no_private_key() -> None:
    (key,) = Keyring([made()], secret=SECRET).jwks()["keys"]

    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}


def test_another_secret_cannot_open_the_keys_and_is_told_what_to_do() -> None:
    with pytest.raises(SigningKeyLockedError, match="AUTH_SECRET"):
        Keyring([made()], secret="another secret of tests")


def test_a_sealed_key_cannot_take_another_keys_name() -> None:
    sealed = made()

    with pytest.raises(SigningKeyLockedError):
        Keyring([replace(sealed, kid="another")], secret=SECRET)


def test_a_refresh_token_is_recognised_and_always_the_same() -> None:
    tokens = RefreshTokens(SECRET)

    token = tokens.token(SESSION, generation=7, nonce=NONCE)
    presented = parse(token)

    assert presented is not None
    assert (presented.session_id, presented.generation) == (SESSION, 7)
    assert tokens.is_genuine(presented, nonce=NONCE)
    assert token == tokens.token(SESSION, generation=7, nonce=NONCE)
    assert not tokens.is_genuine(presented, nonce=b"m" * 16)
    assert not RefreshTokens("another secret of tests").is_genuine(presented, nonce=NONCE)


@pytest.mark.parametrize("position", [0, 23, 30, 69])
def test_a_refresh_token_with_another_letter_is_not_genuine(position: int) -> None:
    tokens = RefreshTokens(SECRET)
    token = tokens.token(SESSION, generation=7, nonce=NONCE)
    letter = "A" if token[position] != "A" else "B"

    presented = parse(token[:position] + letter + token[position + 1 :])

    assert presented is None or not tokens.is_genuine(presented, nonce=NONCE)


@pytest.mark.parametrize(
    "text", ["", "x", "\u00e9" * 72, "A" * 68, "A" * 76, "A" * 71 + "+", "=" * 72]
)
def test_what_has_not_the_form_of_a_refresh_token_is_none(text: str) -> None:
    assert parse(text) is None

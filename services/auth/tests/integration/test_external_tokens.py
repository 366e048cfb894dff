"""Tokens that another issuer did not make, or not for us."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.db import Connection
from services.auth.settings import Settings
from services.auth.tests.integration.other_issuer import (
    HMAC_KEY,
    OtherIssuer,
    ago,
    configured,
    refused,
)
from services.auth.tests.integration.person import Person

pytestmark = pytest.mark.integration
WEAK = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
"""For tests that sign with keys that nobody should have."""


@pytest.fixture
def settings(settings: Settings, issuer: OtherIssuer) -> Settings:
    return configured(settings, issuer)


@WEAK
async def test_no_signature_and_none_that_anybody_can_make_opens_anything(
    ada: Person, issuer: OtherIssuer, conn: Connection
) -> None:
    """J1, J2: `none`, and HMAC with what is published."""
    payload = issuer.token("rsa").split(".")[1]
    key = issuer.keys["rsa"][1].public_key()
    public = [
        key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        for encoding in (Encoding.DER, Encoding.PEM)
    ]
    tokens = [
        issuer.token("hmac"),
        *(
            by_hmac(payload, secret, kid=kid, size=size)
            for secret in (HMAC_KEY.encode(), *public)
            for size in (256, 384, 512)
            for kid in ("rsa", "ec", "ed", "hmac")
        ),
        *(
            f"{encoded({'alg': alg, 'kid': kid, 'typ': 'JWT'})}.{payload}."
            for alg in ("none", "None", "NONE", "")
            for kid in ("rsa", "hmac")
        ),
    ]

    assert {await refused(ada, token) for token in tokens} == {"401 unauthenticated"}
    assert await conn.fetchval("SELECT count(*) FROM account") == 0


@WEAK
async def test_only_the_issuers_own_and_good_keys_count(ada: Person, issuer: OtherIssuer) -> None:
    """J4: unpublished, weak, of another algorithm or use; named by the token itself."""
    own = issuer.keys["secret"][1]
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    jwk = issuer.jwk("secret")
    tokens = [
        *(issuer.token(kid) for kid in ("secret", "weak", "p521", "sealing")),
        *(
            jwt.encode(claims, own, "EdDSA", {"kid": "ed", **header})
            for header in ({}, {"jwk": jwk}, {"jku": "http://127.0.0.1:1/"}, {"kid": "../ed"})
        ),
        jwt.encode(claims, issuer.keys["ed"][1], "EdDSA"),
        jwt.encode(claims, issuer.keys["rsa"][1], "RS512", {"kid": "rsa"}),
        jwt.encode(claims, issuer.keys["rsa"][1], "PS256", {"kid": "rsa"}),
    ]

    assert {await refused(ada, token) for token in tokens} == {"401 unauthenticated"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://login.example.com"}, "unauthenticated"),
        ({"iss": "thoughtflow"}, "unauthenticated"),
        ({"aud": "others"}, "unauthenticated"),
        ({"aud": "thoughtflow"}, "unauthenticated"),
        ({"aud": None}, "unauthenticated"),
        ({"sub": None}, "unauthenticated"),
        ({"sub": ""}, "unauthenticated"),
        ({"sub": "x" * 256}, "unauthenticated"),
        ({"exp": None}, "unauthenticated"),
        ({"exp": 10**30}, "unauthenticated"),
        ({"iat": None}, "unauthenticated"),
        ({"iat": ago(-600)}, "unauthenticated"),
        ({"nbf": ago(-600)}, "unauthenticated"),
        ({"exp": ago(60)}, "token_expired"),
        ({"iat": ago(25 * 3600)}, "token_expired"),
    ],
)
async def test_a_signature_alone_does_not_make_a_token_good(
    ada: Person, issuer: OtherIssuer, changes: dict[str, Any], code: str
) -> None:
    """J7: expired, not yet valid, for others, or with a claim missing."""
    assert await refused(ada, issuer.token(**changes)) == f"401 {code}"


async def test_a_token_that_was_changed_or_cut_is_refused(ada: Person, issuer: OtherIssuer) -> None:
    """J3: and one that is endless is not read."""
    head, payload, signature = issuer.token().split(".")
    other = issuer.token(sub="auth0|bob").split(".")[1]
    tokens = [
        *(f"{head}.{other}.{signature}", f"{head}.{payload}.", f"{head}.{payload}"),
        *(f"{head}.{payload}.{signature[:-4]}", "...", "x", f"{head}{payload}{signature}"),
    ]

    assert {await refused(ada, token) for token in tokens} == {"401 unauthenticated"}
    endless = f"{head}.{payload}.{signature}{'A' * 100_000}"
    assert await refused(ada, endless) == "422 validation_failed"


def encoded(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def by_hmac(payload: str, secret: bytes, *, kid: str, size: int) -> str:
    """Sign as no library does with a public key."""
    signed = f"{encoded({'alg': f'HS{size}', 'kid': kid, 'typ': 'JWT'})}.{payload}"
    mac = hmac.digest(secret, signed.encode(), f"sha{size}")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

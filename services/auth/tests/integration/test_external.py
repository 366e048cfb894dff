"""Tokens of another issuer: whose they are, and what becomes of those people."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.auth import rules
from services.auth.actions import housekeeping
from services.auth.settings import Settings
from services.auth.tests.integration.key_owner import exchange, made
from services.auth.tests.integration.other_issuer import (
    AUDIENCE,
    HMAC_KEY,
    ISSUER,
    SUBJECT,
    OtherIssuer,
    open_issuer,
)
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration
WEAK = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
"""For tests that sign with keys that nobody should have."""


@pytest.fixture
async def issuer() -> AsyncIterator[OtherIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
def settings(settings: Settings, issuer: OtherIssuer) -> Settings:
    given = {
        "external_issuer": ISSUER,
        "external_jwks_url": issuer.url,
        "external_audience": AUDIENCE,
    }
    return settings.model_copy(update=given)


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


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_a_user_is_made_on_first_sight_and_known_again(
    ada: Person, issuer: OtherIssuer, rabbitmq_url: str, kid: str
) -> None:
    async with listening(rabbitmq_url, UserRegistered) as bodies:
        first = await enter(ada, issuer.token(kid))
        async with asyncio.timeout(5):
            event = UserRegistered.model_validate_json(await bodies.get())
    again = await enter(ada, issuer.token("rsa"))
    other = await enter(ada, issuer.token(kid, sub="auth0|bob"))

    me = (await ada.me(first["access_token"])).json()
    assert me["id"] == str(event.user_id) == again["claims"]["sub"] != other["claims"]["sub"]
    assert first["claims"]["sid"] == again["claims"]["sid"] != other["claims"]["sid"]
    assert (me["phone"], me["email"], me["guest"], me["verified"]) == (None, None, False, True)
    assert (first["claims"]["role"], first["expires_in"]) == ("user", 900)
    assert "scope" not in first["claims"]


async def test_parallel_first_tokens_make_one_user(
    ada: Person, issuer: OtherIssuer, conn: Connection
) -> None:
    """R2, for users of another issuer."""
    logins = await asyncio.gather(*(enter(ada, issuer.token("ed")) for _ in range(10)))

    assert len({(each["claims"]["sub"], each["claims"]["sid"]) for each in logins}) == 1
    assert await conn.fetchval("SELECT count(*) FROM account") == 1


async def test_neither_issuer_nor_subject_is_kept(
    ada: Person, issuer: OtherIssuer, conn: Connection
) -> None:
    await enter(ada, issuer.token())

    row = await conn.fetchrow("SELECT * FROM external_login, account, session")

    assert row is not None
    assert not any(word in str(dict(row)) for word in (SUBJECT, ISSUER))
    assert len(row["subject_hash"]) == 32


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


async def test_our_own_token_lives_no_longer_than_theirs(ada: Person, issuer: OtherIssuer) -> None:
    login = await enter(ada, issuer.token(exp=ago(-100)))

    assert 90 < login["expires_in"] <= 100


async def test_a_logout_ends_the_tokens_before_it_and_none_after(
    ada: Person, issuer: OtherIssuer
) -> None:
    """J10: whoever has an old token cannot come back by it."""
    before = issuer.token(iat=ago(60))
    login = await enter(ada, before)

    await ada.call("POST", "/auth/logout", login)

    assert await refused(ada, before) == "401 session_revoked"
    after = await enter(ada, issuer.token(iat=ago(-2)))
    assert after["claims"]["sub"] == login["claims"]["sub"]
    assert after["claims"]["sid"] != login["claims"]["sid"]


async def test_a_deleted_user_comes_back_by_a_new_token_only_and_as_somebody_else(
    ada: Person, issuer: OtherIssuer
) -> None:
    before = issuer.token(iat=ago(60))
    login = await enter(ada, before)

    answer = await ada.call("DELETE", "/user/me", login)

    assert answer.status_code == 202
    assert await refused(ada, before) == "401 session_revoked"
    after = await enter(ada, issuer.token(iat=ago(-2)))
    assert after["claims"]["sub"] != login["claims"]["sub"]


async def test_what_stays_of_a_deleted_user_goes_once_its_tokens_are_too_old(
    ada: Person, issuer: OtherIssuer, app: FastAPI, conn: Connection
) -> None:
    login = await enter(ada, issuer.token(iat=ago(60)))
    await enter(ada, issuer.token(sub="auth0|bob"))
    await ada.call("DELETE", "/user/me", login)
    count = "SELECT count(*) FROM external_login"

    await housekeeping.delete_stale(app.state.resources)
    at_once = await conn.fetchval(count)
    past = utc_now() - rules.EXTERNAL_TOKEN_AGE - timedelta(hours=2)
    await conn.execute("UPDATE external_login SET refused_until = $1 WHERE user_id IS NULL", past)
    await housekeeping.delete_stale(app.state.resources)

    assert (at_once, await conn.fetchval(count)) == (2, 1)


async def test_leaving_and_coming_at_once_never_wait_in_a_circle(
    ada: Person, issuer: OtherIssuer
) -> None:
    token = issuer.token(iat=ago(60))
    login = await enter(ada, token)

    answers = await asyncio.gather(
        *(exchange(ada, token) for _ in range(10)),
        ada.call("DELETE", "/user/me", login),
        *(exchange(ada, token) for _ in range(10)),
    )

    assert {each.status_code for each in answers} <= {200, 202, 401}
    assert await refused(ada, token) == "401 session_revoked"


async def test_such_a_user_may_have_api_keys(ada: Person, issuer: OtherIssuer) -> None:
    login = await enter(ada, issuer.token())

    key = await made(ada, login)

    assert (await exchange(ada, key["key"])).status_code == 200


async def test_an_issuer_that_is_away_is_no_verdict_on_its_tokens(
    ada: Person, issuer: OtherIssuer
) -> None:
    issuer.is_away = True

    answer: httpx2.Response = await exchange(ada, issuer.token())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def encoded(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def by_hmac(payload: str, secret: bytes, *, kid: str, size: int) -> str:
    """Sign as no library does with a public key."""
    signed = f"{encoded({'alg': f'HS{size}', 'kid': kid, 'typ': 'JWT'})}.{payload}"
    mac = hmac.digest(secret, signed.encode(), f"sha{size}")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

"""What opens no door: at the gateway's, and at each service's own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest

from libs.common.clock import new_id
from libs.common.testing import eventually
from services.auth.models import SealedKey
from services.auth.tokens import Keyring
from tests.e2e.forger import Forger
from tests.e2e.person import ticket_for
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PATHS = {
    "auth": "/user/me",
    "chat": "/chatroom",
    "ai": "/model",
    "billing": "/subscription/status",
}
OWN = ("/event", "/auth/session")
Login = dict[str, Any]


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as client:
        yield client


@pytest.fixture
async def login(http: httpx2.AsyncClient) -> Login:
    return await log_in(http)


@pytest.fixture
async def forger(stack: Stack, http: httpx2.AsyncClient, login: Login) -> Forger:
    """Nobody has auth's key but auth; this one lends it out, to sign what auth never would."""
    secret = json.loads((stack.home / "secrets.json").read_text())["auth_secret"]
    rows = await stack.query(
        lambda conn: conn.fetch("SELECT kid, sealed, signs_from FROM auth.signing_key")
    )
    keyring = Keyring([SealedKey(**row) for row in rows], secret=secret)
    token = login["access_token"]
    keys = (await http.get("/.well-known/jwks.json")).json()["keys"]
    kid = jwt.get_unverified_header(token)["kid"]
    return Forger(token, next(key for key in keys if key["kid"] == kid), keyring)


async def log_in(http: httpx2.AsyncClient, email: str | None = None) -> Login:
    who = {"email": email or f"{new_id()}@example.com"}
    await http.post("/auth/signup", json=who)
    otp = (await http.post("/auth/send-otp", json=who)).json()["otp"]
    answer = await http.post("/auth/verify-otp", json={**who, "otp": otp})
    assert answer.status_code == 200, answer.text
    login: Login = answer.json()
    return login


def doors(stack: Stack) -> list[str]:
    """Return a URL that wants a token, of each service, through the gateway and past it."""
    gateway = stack.url("gateway")
    direct = [stack.processes(service)[0]["url"] + path for service, path in PATHS.items()]
    return [*(gateway + path for path in (*PATHS.values(), *OWN)), *direct]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ensure_refused(
    stack: Stack, http: httpx2.AsyncClient, tokens: list[str], *, at_least: int = 2
) -> None:
    """Try every token at every door: 401 with a code each, and not a word of it in a log."""
    assert len(set(tokens)) >= at_least  # a list that came out empty shows nothing
    async with asyncio.TaskGroup() as group:
        for door in doors(stack):
            group.create_task(_try(http, door, tokens))
    _ensure_unlogged(stack, tokens)


async def _try(http: httpx2.AsyncClient, door: str, tokens: list[str]) -> None:
    for token in tokens:
        answer = await http.get(door, headers=bearer(token))
        assert answer.status_code == 401, (door, token, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] in {"unauthenticated", "token_expired"}
        assert "Traceback" not in answer.text
        assert token not in answer.text or len(token) < 3


def _ensure_unlogged(stack: Stack, secrets: list[str]) -> None:
    logs = "".join(path.read_text(errors="replace") for path in stack.home.glob("logs/*.log"))
    assert "request" in logs  # they are the right files
    # No stack trace of a refusal; those of servers that other tests killed are none of ours.
    assert "identity.py" not in logs
    assert [secret for secret in secrets if len(secret) > 20 and secret in logs] == []


async def test_a_good_token_opens_every_door(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    for token in (forger.good, forger.signed(forger.claims)):
        for door in doors(stack):
            async with http.stream("GET", door, headers=bearer(token)) as answer:
                assert answer.status_code == 200, door


async def test_a_token_without_a_signature_is_refused(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J1: `none`, however it is spelt."""
    await ensure_refused(stack, http, forger.unsigned(), at_least=36)


async def test_a_public_key_is_no_secret(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J2: HS256 to HS512 with the public key."""
    await ensure_refused(stack, http, forger.confused(), at_least=36)


async def test_a_token_that_was_changed_or_cut_is_refused(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J3: no part of it counts without the others."""
    await ensure_refused(stack, http, forger.tampered(), at_least=17)


async def test_a_token_does_not_say_which_key_is_ours(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J4: `kid`, `jku`, `jwk`, `x5u`, `x5c`; nothing is fetched on its word."""
    await ensure_refused(stack, http, forger.misdirected(), at_least=16)


async def test_no_word_is_the_secret(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J5: there is none to be guessed, only auth's key signs."""
    await ensure_refused(stack, http, forger.guessed(), at_least=100)


async def test_a_token_tells_whose_it_is_and_nothing_personal(login: Login, forger: Forger) -> None:
    """J6: ids, times, a role, and how the login was proved."""
    claims = forger.claims

    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "role", "amr", "acr"}
    assert (claims["amr"], claims["acr"]) == (["otp"], "one_step")
    assert claims["sub"] == login["user"]["id"]
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert not {claims["jti"], claims["sid"]} & {claims["sub"]}


async def test_auths_signature_alone_does_not_make_a_token_good(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    """J7: expired, not yet valid, for others, of another type, or with a claim missing."""
    await ensure_refused(stack, http, forger.inapt(), at_least=16)


async def test_one_kind_of_token_does_not_do_for_another(
    stack: Stack, http: httpx2.AsyncClient, login: Login
) -> None:
    """J8: neither refreshes with an access token nor enters with a refresh token."""
    await ensure_refused(stack, http, [login["refresh_token"], login["refresh_token"][:-1] + "A"])
    ticket = await ticket_for(http, headers=bearer(login["access_token"]))
    await ensure_refused(stack, http, [ticket, ticket[:-1]])

    answer = await http.post("/auth/refresh", json={"refresh_token": login["access_token"][:200]})

    assert (answer.status_code, answer.json()["code"]) == (401, "refresh_invalid")


async def test_a_token_counts_in_its_header_only(
    stack: Stack, http: httpx2.AsyncClient, login: Login
) -> None:
    """J9: not in the query, a cookie, a body, another header or scheme."""
    token = login["access_token"]
    ways: list[dict[str, Any]] = [
        *({"params": {name: token}} for name in ("token", "access_token", "jwt", "authorization")),
        *({"headers": {"Cookie": f"{name}={token}"}} for name in ("token", "access_token")),
        *({"headers": {name: token}} for name in ("X-Access-Token", "X-Auth-Token", "Token")),
        *({"headers": {"Authorization": f"{word}{token}"}} for word in ("", "Token ", "Basic ")),
        {"headers": {"Proxy-Authorization": f"Bearer {token}"}},
    ]
    for door in doors(stack):
        for way in ways:
            answer = await http.get(door, **way)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), way
    _ensure_unlogged(stack, [token])


async def test_a_token_of_100_kb_is_refused_unread(
    stack: Stack, http: httpx2.AsyncClient, forger: Forger
) -> None:
    for size, expected in ((5_000, {401}), (100_000, {401, 431})):
        head, payload, signature = forger.good.split(".")
        for token in ("x" * size, f"{head}.{payload}{'A' * size}.{signature}"):
            for door in doors(stack):
                answer = await http.get(door, headers=bearer(token))
                assert answer.status_code in expected, (door, answer.status_code)
                assert answer.json()["code"] in {"unauthenticated", "headers_too_large"}
                assert "x" * 100 not in answer.text


async def test_a_logout_counts_at_once_and_for_that_login_alone(
    stack: Stack, http: httpx2.AsyncClient
) -> None:
    """J10: at every gateway, and for the stream that was open."""
    email = f"{new_id()}@example.com"
    phone, laptop = await log_in(http, email), await log_in(http, email)
    gateways = stack.gateways()
    async with http.stream("GET", "/event", headers=bearer(phone["access_token"])) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        began = time.monotonic()
        out = await http.post("/auth/logout", headers=bearer(phone["access_token"]))
        told = [line async for line in lines]
        closed_after_s = time.monotonic() - began

    async def is_refused() -> bool:
        answers = [
            await http.get(url + "/chatroom", headers=bearer(phone["access_token"]))
            for url in gateways
        ]
        return all(each.status_code == 401 for each in answers)

    await eventually(is_refused, within_s=1)
    refreshed = await http.post("/auth/refresh", json={"refresh_token": phone["refresh_token"]})
    other = await http.get("/chatroom", headers=bearer(laptop["access_token"]))
    sessions = (await http.get("/auth/session", headers=bearer(laptop["access_token"]))).json()

    assert out.status_code == 204
    assert any("session.revoked" in line for line in told)
    assert closed_after_s < 1
    assert refreshed.json()["code"] == "refresh_invalid"
    assert other.status_code == 200
    assert [each["current"] for each in sessions["data"]] == [True]
